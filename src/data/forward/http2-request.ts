/** The head of a request to an HTTP/2 upstream: pseudo-fields, the client's own lines as bytes, then what we add. */
import { hopByHop, nominatedBy } from "../../lib/fields.ts";
import {
  dropped,
  fieldsToUpstream,
  hostToUpstream,
  rewritten,
  saidOfClient,
  targetToUpstream,
} from "../headers/to-upstream.ts";
import type { Exchange } from "../exchange.ts";
import type { Route } from "../routing/table.ts";
import { ByteNames } from "../wire/byte-names.ts";
import type { HpackEncoder } from "../wire/http2/hpack-encoder.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Attempt } from "./forwarder.ts";
import type { RawExchange } from "./request-writer.ts";

/** @param secure the upstream's connection is TLS */
export function encodeRequest(encoder: HpackEncoder, attempt: Attempt, loopMark: string, secure: boolean): void {
  const { exchange, route, member, body } = attempt;
  const head = (exchange as Partial<RawExchange>).head;
  encoder.text(":method", exchange.method);
  encoder.text(":scheme", secure ? "https" : "http");
  encoder.text(":authority", hostToUpstream(exchange, route, member.endpoint.name));
  if (head && !route.stripPrefix && head.pathStart >= 0) encoder.path(head.bytes, head.pathStart, head.pathEnd);
  else encoder.text(":path", targetToUpstream(exchange, route));
  if (head) {
    encodeLines(encoder, exchange, head, route);
    for (const [name, value] of saidOfClient(exchange, route, loopMark)) encoder.text(name, value);
    for (const [name, value] of route.requestEdits.lines) encoder.text(name, value);
    if (head.teTrailers) encoder.text("te", "trailers");
  } else for (const [name, value] of fieldsToUpstream(exchange, route, loopMark)) encoder.text(name, value);
  if (body ? body.length >= 0 : needsLength(exchange.method)) encoder.text("content-length", String(body?.length ?? 0));
}

/** RFC 9110 8.6: methods that anticipate content say that there is none. */
function needsLength(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}

const dropsOf = new WeakMap<Route, ByteNames>();

function encodeLines(encoder: HpackEncoder, exchange: Exchange, head: RequestHead, route: Route): void {
  let drops = dropsOf.get(route);
  if (!drops) {
    drops = new ByteNames([...hopByHop, ...rewritten, ...dropped, ...route.requestEdits.drop]);
    dropsOf.set(route, drops);
  }
  const nominated = head.nominates ? nominatedBy(exchange.field("connection")) : undefined;
  const { bytes, lines, count, hasUnderscore, sensitive } = head;
  for (let line = 0; line < count; line++) {
    const start = lines[line * 4]!;
    const end = lines[line * 4 + 1]!;
    if (drops.has(bytes, start, end)) continue;
    if (hasUnderscore || nominated || (end - start === 9 && !exchange.trusted)) {
      const name = bytes.toString("latin1", start, end).toLowerCase();
      if (name.includes("_") || nominated?.has(name) || (name === "forwarded" && !exchange.trusted)) continue;
    }
    encoder.field(bytes, start, end, lines[line * 4 + 2]!, lines[line * 4 + 3]!, sensitive?.has(line));
  }
}
