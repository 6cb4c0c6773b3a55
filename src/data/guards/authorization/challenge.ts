/** The challenge of a 401 (RFC 9110 11.6.1): says which credentials would be taken, never which part of those sent was wrong. */
import type { Exchange, OwnReply } from "../../exchange.ts";
import { refuse } from "../guard.ts";

/** What every answer of one `authorization` has in common. */
export interface Realm {
  /** RFC 9110 11.5; the matched host, or the one that was asked for where a pattern matched */
  of(exchange: Exchange): string;
}

/** @param written the rule's own @param host pattern as matched */
export function realmOf(written: string | undefined, host: string): Realm {
  const named = written ?? (host === "DEFAULT" || host.startsWith("*.") ? undefined : host);
  return { of: (exchange) => named ?? exchange.host };
}

/**
 * @param challenge scheme and parameters, ready
 * @param why for the client
 * @param cause for the log: without any part of what was sent
 */
export function unauthorized(challenge: string, why: string, cause: string): OwnReply {
  return refuse(401, why, [["WWW-Authenticate", challenge]], cause);
}

/** RFC 9110 5.6.4: quoted-string. */
export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
