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
  prefixOf,
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
  readonly connection: { saidOfClient: SaidOfClient | undefined };
}

/** What we say about the client of a connection, as it goes out; made for its first request. */
export interface SaidOfClient {
  /** up to the value of X-Forwarded-Host */
  readonly before: Buffer;
  /** from there up to the value of X-Request-Id, where Host names no port */
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
  const { connection } = exchange;
  if (!isPrepared(exchange, route)) {
    out.text(joined(saidOfClient(exchange, route, loopMark)));
    out.copy(requestEdits.bytes, 0, requestEdits.bytes.length);
    return out.text(`${ending}\r\n`);
  }
  const said = (connection.saidOfClient ??= prepareClient(exchange));
  out.copy(said.before, 0, said.before.length);
  if (head.authorityStart >= 0) out.copy(head.bytes, head.authorityStart, head.authorityEnd);
  else out.copy(head.bytes, head.lines[head.hostLine * 4 + 2]!, head.lines[head.hostLine * 4 + 3]!);
  if (exchange.hostPort === "") out.copy(said.behind, 0, said.behind.length);
  else out.text(`\r\nX-Forwarded-Port: ${exchange.hostPort}\r\nX-Request-Id: `);
  out.text(exchange.id);
  const rest = (route.said ??= prepareRoute(route, loopMark));
  if (ending === "") return out.copy(rest, 0, rest.length);
  out.copy(rest, 0, rest.length - 2);
  out.text(`${ending}\r\n`);
}

/** What {@link saidOfClient} gives depends on the connection, the Host and the route alone. */
function isPrepared(exchange: RawExchange, { requestEdits }: Route): boolean {
  return (
    !exchange.trusted &&
    exchange.authority !== undefined &&
    exchange.method !== "OPTIONS" &&
    exchange.field("cdn-loop") === undefined &&
    !(requestEdits.requestDrops ??= dropsOf(requestEdits)).said
  );
}

function prepareClient({ peer, client, secure, secured, localPort }: RawExchange): SaidOfClient {
  const who = peer === "" ? "" : `X-Forwarded-For: ${peer}\r\nX-Real-IP: ${client}\r\n`;
  const certificate = secured?.client;
  const shown = certificate ? `Client-Cert: ${certificate.field}\r\nX-Client-Subject: ${certificate.subject}\r\n` : "";
  const proto = `X-Forwarded-Proto: ${secure ? "https" : "http"}\r\n`;
  return {
    before: Buffer.from(`${who}${shown}${proto}X-Forwarded-Host: `, "latin1"),
    behind: Buffer.from(`\r\nX-Forwarded-Port: ${localPort}\r\nX-Request-Id: `, "latin1"),
  };
}

/** Everything behind the request id, with the empty line that ends a head. */
function prepareRoute(route: Route, loopMark: string): Buffer {
  const prefix = prefixOf(route);
  const lines = `${prefix === "" ? "" : `X-Forwarded-Prefix: ${prefix}\r\n`}CDN-Loop: ${loopMark}\r\n`;
  return Buffer.concat([Buffer.from(`\r\n${lines}`, "latin1"), route.requestEdits.bytes, Buffer.from("\r\n")]);
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
  const said = [...rewritten, "client-cert", "x-client-subject"].some((name) => edits.drop.has(name));
  return { trusted: new ByteNames(names), untrusted: new ByteNames([...names, "forwarded"]), said };
}
