/** The head of a request to an HTTP/2 upstream: pseudo-fields, the client's own lines as bytes, then what we add. */
import { fieldsToUpstream, hostToUpstream, saidOfClient, targetToUpstream } from "../headers/to-upstream.ts";
import type { Exchange } from "../exchange.ts";
import type { Route } from "../routing/table.ts";
import type { HpackEncoder } from "../wire/http2/hpack-encoder.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Attempt } from "./forwarder.ts";
import { dropsFor, isOdd, nominatedIn, type RawExchange } from "./request-writer.ts";

/** @param secure the upstream's connection is TLS */
export function encodeRequest(encoder: HpackEncoder, attempt: Attempt, loopMark: string, secure: boolean): void {
  const { exchange, route, member, body } = attempt;
  const head = (exchange as Partial<RawExchange>).head;
  encoder.text(":method", exchange.method);
  encoder.text(":scheme", secure ? "https" : "http");
  encoder.text(":authority", hostToUpstream(exchange, route, member.endpoint.name));
  if (head && !route.stripPrefix && !route.cutsTokens && head.pathStart >= 0)
    encoder.path(head.bytes, head.pathStart, head.pathEnd);
  else encoder.text(":path", targetToUpstream(exchange, route));
  if (head) {
    encodeLines(encoder, exchange as RawExchange, head, route);
    encodeAdded(encoder, exchange as RawExchange, route, loopMark);
    if (head.teTrailers) encoder.text("te", "trailers");
  } else for (const [name, value] of fieldsToUpstream(exchange, route, loopMark)) encoder.text(name, value);
  if (body ? body.length >= 0 : needsLength(exchange.method)) encoder.text("content-length", String(body?.length ?? 0));
}

/** RFC 9110 8.6: methods that anticipate content say that there is none. */
function needsLength(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}

/** What was added to the request before on a client's connection: nearly always the same again. */
interface Added {
  readonly authority: string | undefined;
  readonly route: Route;
  /** names and values, one behind the other; four offsets per line */
  readonly bytes: Buffer;
  readonly offsets: Int32Array;
  /** the line of X-Request-Id, which alone differs */
  readonly idLine: number;
}

const addedBefore = new WeakMap<object, Added>();

/** Our own lines and the rules', laid out once per connection and route while nothing the client says goes into them. */
function encodeAdded(encoder: HpackEncoder, exchange: RawExchange, route: Route, loopMark: string): void {
  const { authority, connection } = exchange;
  let added = addedBefore.get(connection);
  if (exchange.trusted || exchange.method === "OPTIONS" || exchange.field("cdn-loop") !== undefined)
    added = layOut(exchange, route, loopMark);
  else if (added?.route !== route || added.authority !== authority) {
    added = layOut(exchange, route, loopMark);
    addedBefore.set(connection, added);
  }
  const { bytes, offsets, idLine } = added;
  for (let i = 0; i < offsets.length; i += 4) {
    if (i === idLine * 4) encoder.text("x-request-id", exchange.id);
    else encoder.field(bytes, offsets[i]!, offsets[i + 1]!, offsets[i + 2]!, offsets[i + 3]!);
  }
}

function layOut(exchange: Exchange, route: Route, loopMark: string): Added {
  const lines = [...saidOfClient(exchange, route, loopMark), ...route.requestEdits.lines];
  const bytes = Buffer.from(lines.map(([name, value]) => name.toLowerCase() + value).join(""), "latin1");
  const offsets = new Int32Array(4 * lines.length);
  let at = 0;
  lines.forEach(([name, value], i) => {
    offsets.set([at, at + name.length, at + name.length, (at += name.length + value.length)], 4 * i);
  });
  const idLine = lines.findIndex(([name, value]) => name === "X-Request-Id" && value === exchange.id);
  return { authority: exchange.authority, route, bytes, offsets, idLine };
}

function encodeLines(encoder: HpackEncoder, exchange: RawExchange, head: RequestHead, route: Route): void {
  const drops = dropsFor(exchange, route.requestEdits);
  const nominated = nominatedIn(exchange, head);
  const { bytes, lines, count, hostLine, hasUnderscore, sensitive } = head;
  for (let line = 0; line < count; line++) {
    const start = lines[line * 4]!;
    const end = lines[line * 4 + 1]!;
    if (line === hostLine || drops.has(bytes, start, end)) continue;
    if ((hasUnderscore || nominated) && isOdd(bytes, start, end, nominated)) continue;
    encoder.field(bytes, start, end, lines[line * 4 + 2]!, lines[line * 4 + 3]!, sensitive?.has(line));
  }
}
