/** Max-Forwards (RFC 9110 7.6.2): how many more proxies an OPTIONS may pass. TRACE, its other user, gets 405 anyway. */
import { maxForwardsMax } from "../../lib/limits.ts";
import type { Exchange, OwnReply } from "../exchange.ts";

/** The methods that are served, as `Allow` names them (RFC 9110 10.2.1). */
export const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** @returns how often the request may still be forwarded; undefined where the field is absent, malformed or of no meaning */
export function forwardsLeft(exchange: Exchange): number | undefined {
  if (exchange.method !== "OPTIONS") return undefined;
  const sent = exchange.field("max-forwards");
  return sent !== undefined && /^[0-9]+$/.test(sent) ? Math.min(Number(sent), maxForwardsMax) : undefined;
}

/** The answer of the last recipient, which we are when the field says 0. */
export function answerLastForward(exchange: Exchange): OwnReply | undefined {
  if (forwardsLeft(exchange) !== 0) return undefined;
  return { status: 200, fields: [["Allow", allowedMethods]], content: undefined, why: "" };
}
