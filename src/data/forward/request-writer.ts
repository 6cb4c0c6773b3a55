/** Writes the head of a request to an upstream: byte ranges of the client's own lines, then what we add. */
import type { Body, FieldLine } from "../body.ts";
import type { Exchange } from "../exchange.ts";
import { hopByHop, nominatedBy } from "../../lib/fields.ts";
import type { HeaderEdits } from "../headers/edits.ts";
import { forwardsLeft } from "../headers/max-forwards.ts";
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
import { originForm } from "../wire/request-target.ts";
import type { Attempt } from "./forwarder.ts";

/** An exchange that still has the bytes of its head. */
export interface RawExchange extends Exchange {
  readonly head: RequestHead;
  readonly connection: {
    said: Said | undefined;
    /** it has asked before */
    readonly again: boolean;
  };
}

/** What was added to the request before on this connection: nearly always the same again. */
export interface Said {
  readonly authority: string | undefined;
  readonly route: Route;
  /** as it goes out, up to the request id */
  readonly before: Buffer;
  /** from there on, the empty line that ends a head included */
  readonly behind: Buffer;
}

export function writeRequestHead(out: Output, attempt: Attempt, loopMark: string): void {
  const { exchange } = attempt;
  const raw = (exchange as Partial<RawExchange>).head;
  if (raw) writeRaw(out, attempt, exchange as RawExchange, raw, loopMark);
  else writeFields(out, attempt, loopMark);
}

/** From the fields of another engine. */
function writeFields(out: Output, { exchange, route, member, body }: Attempt, loopMark: string): void {
  out.text(`${exchange.method} ${targetToUpstream(exchange, route)} HTTP/1.1\r\n`);
  out.text(`Host: ${hostToUpstream(exchange, route, member.endpoint.name)}\r\n`);
  for (const [name, value] of fieldsToUpstream(exchange, route, loopMark)) out.text(`${name}: ${value}\r\n`);
  out.text(`${framing(exchange.method, body?.length)}\r\n`);
}

function writeRaw(
  out: Output,
  { route, member, body }: Attempt,
  exchange: RawExchange,
  head: RequestHead,
  loopMark: string,
): void {
  const { requestEdits } = route;
  // The client's own Host line stays where it was, unless a rule or an absolute-form target says otherwise (RFC 9112 3.2.2).
  const keepsHost = requestEdits.host === undefined && head.hostLine >= 0 && head.authorityStart < 0;
  // The request line goes with the lines behind it, where it can go as it came.
  const asItCame = keepsHost && head.form === originForm && head.minor === 1 && !route.stripPrefix && !route.cutsTokens;
  if (!asItCame) {
    out.text(`${exchange.method} ${targetToUpstream(exchange, route)} HTTP/1.1\r\n`);
    if (!keepsHost) out.text(`Host: ${hostToUpstream(exchange, route, member.endpoint.name)}\r\n`);
  }
  copyLines(out, exchange, head, requestEdits, keepsHost, asItCame ? head.methodStart : -1);
  const ending = tailOf(exchange, head, body);
  const { connection, authority } = exchange;
  // What is prepared serves the second request of a connection and those behind it.
  if (
    !connection.again ||
    exchange.trusted ||
    exchange.method === "OPTIONS" ||
    requestEdits.drop.has("x-request-id") ||
    exchange.field("cdn-loop") !== undefined
  ) {
    out.text(joined(saidOfClient(exchange, route, loopMark)));
    out.copy(requestEdits.bytes, 0, requestEdits.bytes.length);
    return out.text(`${ending}\r\n`);
  }
  let said = connection.said;
  if (said?.route !== route || said.authority !== authority) {
    said = connection.said = sayOf(exchange, route, loopMark);
  }
  const { before, behind } = said;
  out.copy(before, 0, before.length);
  out.text(exchange.id);
  if (ending === "") return out.copy(behind, 0, behind.length);
  out.copy(behind, 0, behind.length - 2);
  out.text(`${ending}\r\n`);
}

/** Our own lines and the rules', joined once per connection and route while nothing the client says goes into them. */
function sayOf(exchange: RawExchange, route: Route, loopMark: string): Said {
  const lines = joined([...saidOfClient(exchange, route, loopMark), ...route.requestEdits.lines]);
  const at = lines.indexOf("X-Request-Id: ") + "X-Request-Id: ".length;
  return {
    authority: exchange.authority,
    route,
    before: Buffer.from(lines.slice(0, at), "latin1"),
    behind: Buffer.from(`${lines.slice(at + exchange.id.length)}\r\n`, "latin1"),
  };
}

function joined(lines: readonly FieldLine[]): string {
  let text = "";
  for (const [name, value] of lines) text += `${name}: ${value}\r\n`;
  return text;
}

/** The lines that belong to this hop and this message; "" for nearly every request. */
function tailOf(exchange: RawExchange, head: RequestHead, body: Body | undefined): string {
  const upgrade = head.upgrade ? exchange.upgrade : undefined;
  const hop =
    upgrade !== undefined
      ? `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`
      : head.teTrailers
        ? "Connection: TE\r\nTE: trailers\r\n"
        : "";
  const expect = body?.expectsContinue ? "Expect: 100-continue\r\n" : "";
  return hop + expect + framing(exchange.method, body?.length);
}

function framing(method: string, length: number | undefined): string {
  if (length !== undefined) return length >= 0 ? `Content-Length: ${length}\r\n` : "Transfer-Encoding: chunked\r\n";
  // RFC 9110 8.6: methods that anticipate content say that there is none.
  return method === "POST" || method === "PUT" || method === "PATCH" ? "Content-Length: 0\r\n" : "";
}

/** Neighbouring lines that stay go out as one range, with what lies before them from `from` on (-1 = nothing). */
function copyLines(
  out: Output,
  exchange: RawExchange,
  head: RequestHead,
  edits: HeaderEdits,
  withHost: boolean,
  from: number,
): void {
  const drops = dropsFor(exchange, edits);
  const nominated = nominatedIn(exchange, head);
  const { bytes, lines, count, hostLine, hasUnderscore } = head;
  for (let i = 0; i < count; i++) {
    const start = lines[i * 4]!;
    const end = lines[i * 4 + 1]!;
    const gone =
      (i === hostLine ? !withHost : drops.has(bytes, start, end)) ||
      ((hasUnderscore || nominated) && isOdd(bytes, start, end, nominated));
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

/** Lower-case names that this request alone leaves behind: those of its Connection, and a count that is written anew. */
export function nominatedIn(exchange: RawExchange, head: RequestHead): ReadonlySet<string> | undefined {
  const names = head.nominates ? nominatedBy(exchange.field("connection")) : undefined;
  return forwardsLeft(exchange) === undefined ? names : new Set(names).add("max-forwards");
}

/** CGI-like upstreams read `X_Real_IP` as `X-Real-IP`; nginx drops such names too. */
export function isOdd(bytes: Buffer, start: number, end: number, nominated: ReadonlySet<string> | undefined): boolean {
  const name = bytes.toString("latin1", start, end).toLowerCase();
  return name.includes("_") || (nominated?.has(name) ?? false);
}

/** Names of the client's lines that stay behind; Host is looked after by whoever asks. */
export function dropsFor({ trusted }: Exchange, edits: HeaderEdits): ByteNames {
  return (edits.requestDrops ??= dropsOf(edits))[trusted ? "trusted" : "untrusted"];
}

function dropsOf(edits: HeaderEdits): NonNullable<HeaderEdits["requestDrops"]> {
  const names = new Set([...hopByHop, ...rewritten, ...dropped, ...edits.drop]);
  names.delete("host");
  return { trusted: new ByteNames(names), untrusted: new ByteNames([...names, "forwarded"]) };
}
