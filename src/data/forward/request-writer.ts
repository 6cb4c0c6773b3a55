/** Writes the head of a request to an upstream: byte ranges of the client's own lines, then what we add. */
import type { FieldLine } from "../body.ts";
import type { Exchange } from "../exchange.ts";
import { hopByHop, nominatedBy } from "../../lib/fields.ts";
import {
  dropped,
  fieldsToUpstream,
  hostToUpstream,
  rewritten,
  saidOfClient,
  targetToUpstream,
} from "../headers/to-upstream.ts";
import type { Route } from "../routing/table.ts";
import { ByteNames } from "../wire/byte-names.ts";
import type { Output } from "../wire/output.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Attempt } from "./forwarder.ts";

/** An exchange that still has the bytes of its head. */
export interface RawExchange extends Exchange {
  readonly head: RequestHead;
  readonly connection: { said: Said | undefined };
}

/** What was added to the request before on this connection: nearly always the same again. */
export interface Said {
  readonly authority: string | undefined;
  readonly route: Route;
  /** before and behind the request id */
  readonly before: string;
  readonly behind: string;
}

/** Our own lines and the rules', joined once per connection and route while nothing the client says goes into them. */
function addedLines(exchange: RawExchange, route: Route, loopMark: string): string {
  const { connection } = exchange;
  if (exchange.trusted || exchange.field("cdn-loop") !== undefined || route.requestEdits.drop.has("x-request-id")) {
    return joined([...saidOfClient(exchange, route, loopMark), ...route.requestEdits.lines]);
  }
  let said = connection.said;
  if (said?.route !== route || said.authority !== exchange.authority) {
    const lines = joined([...saidOfClient(exchange, route, loopMark), ...route.requestEdits.lines]);
    const at = lines.indexOf("X-Request-Id: ") + "X-Request-Id: ".length;
    const { authority } = exchange;
    said = { authority, route, before: lines.slice(0, at), behind: lines.slice(at + exchange.id.length) };
    connection.said = said;
  }
  return said.before + exchange.id + said.behind;
}

function joined(lines: readonly FieldLine[]): string {
  let text = "";
  for (const [name, value] of lines) text += `${name}: ${value}\r\n`;
  return text;
}

export function writeRequestHead(out: Output, attempt: Attempt, loopMark: string): void {
  const { exchange, route, member, body } = attempt;
  const head = (exchange as Partial<RawExchange>).head;
  out.text(`${exchange.method} `);
  if (head && !route.stripPrefix && !route.cutsTokens && head.pathStart >= 0)
    out.copy(head.bytes, head.pathStart, head.pathEnd);
  else out.text(targetToUpstream(exchange, route));
  out.text(" HTTP/1.1\r\n");
  // The client's own Host line stays where it was, unless a rule or an absolute-form target says otherwise (RFC 9112 3.2.2).
  const keepsHost = route.requestEdits.host === undefined && head && head.hostLine >= 0 && head.authorityStart < 0;
  const host = keepsHost ? undefined : hostToUpstream(exchange, route, member.endpoint.name);
  if (host !== undefined) out.text(`Host: ${host}\r\n`);
  if (head) {
    copyLines(out, exchange, head, route, host === undefined);
    out.text(addedLines(exchange as RawExchange, route, loopMark));
  } else {
    for (const [name, value] of fieldsToUpstream(exchange, route, loopMark)) out.text(`${name}: ${value}\r\n`);
  }
  const upgrade = head?.upgrade ? exchange.upgrade : undefined;
  if (upgrade !== undefined) out.text(`Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`);
  else if (head?.teTrailers) out.text("Connection: TE\r\nTE: trailers\r\n");
  if (body)
    out.text(body.length >= 0 ? `Content-Length: ${body.length}\r\n\r\n` : "Transfer-Encoding: chunked\r\n\r\n");
  else out.text(needsLength(exchange.method) ? "Content-Length: 0\r\n\r\n" : "\r\n");
}

/** RFC 9110 8.6: methods that anticipate content say that there is none. */
function needsLength(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}

const dropsOf = new WeakMap<Route, ByteNames>();

/** Neighbouring lines that stay go out as one range. */
function copyLines(out: Output, exchange: Exchange, head: RequestHead, route: Route, withHost: boolean): void {
  let drops = dropsOf.get(route);
  if (!drops) {
    const names = new Set([...hopByHop, ...rewritten, ...dropped, ...route.requestEdits.drop]);
    names.delete("host");
    dropsOf.set(route, (drops = new ByteNames(names)));
  }
  const nominated = head.nominates ? nominatedBy(exchange.field("connection")) : undefined;
  const { bytes, lines, count, hostLine } = head;
  let from = -1;
  for (let i = 0; i < count; i++) {
    const start = lines[i * 4]!;
    const end = lines[i * 4 + 1]!;
    const gone =
      (i === hostLine && !withHost) ||
      drops.has(bytes, start, end) ||
      (head.hasUnderscore && bytes.toString("latin1", start, end).includes("_")) ||
      nominated?.has(bytes.toString("latin1", start, end).toLowerCase()) ||
      (!exchange.trusted && isForwarded(bytes, start, end));
    if (!gone) {
      if (from < 0) from = start;
      continue;
    }
    if (from >= 0) out.copy(bytes, from, start);
    from = -1;
  }
  // The last line ends before the empty line that ends the head.
  if (from >= 0) out.copy(bytes, from, head.end - 2);
}

function isForwarded(bytes: Buffer, start: number, end: number): boolean {
  return end - start === 9 && bytes.toString("latin1", start, end).toLowerCase() === "forwarded";
}
