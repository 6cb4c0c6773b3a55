/** Fields of the request that goes upstream: end-to-end ones, what we say about the client, and the route's rules. */
import { isIPv6 } from "node:net";
import type { FieldLine } from "../body.ts";
import type { Exchange } from "../exchange.ts";
import { withoutTokens } from "../guards/authorization/token.ts";
import type { Route } from "../routing/table.ts";
import { copyFields } from "./edits.ts";
import { forwardsLeft } from "./max-forwards.ts";

/** Written by us, whatever the client sent (B12). */
export const rewritten: ReadonlySet<string> = new Set([
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-real-ip",
  "x-request-id",
  "cdn-loop",
]);

/** Never forwarded: Host has its own place, framing belongs to the engine, Proxy is httpoxy (CVE-2016-5385). */
export const dropped: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "expect",
  "proxy",
  "client-cert",
  "x-client-subject",
]);

/** Fields for the upstream, Host and framing aside. @param loopMark our CDN-Loop id (RFC 8586) */
export function fieldsToUpstream(exchange: Exchange, route: Route, loopMark: string): FieldLine[] {
  const fields: FieldLine[] = [];
  const edits = route.requestEdits;
  const counted = forwardsLeft(exchange) !== undefined;
  const keep = (lower: string) =>
    !rewritten.has(lower) &&
    !dropped.has(lower) &&
    !(counted && lower === "max-forwards") &&
    // CGI-like upstreams read `X_Real_IP` as `X-Real-IP`; nginx drops such names too.
    !lower.includes("_") &&
    (exchange.trusted || lower !== "forwarded");
  copyFields(exchange, edits, keep, (name, value) => fields.push([name, value]));
  fields.push(...saidOfClient(exchange, route, loopMark), ...edits.lines);
  return fields;
}

/** What we say about the client, whatever it said itself; rules that set or remove such a name win. */
export function saidOfClient(exchange: Exchange, route: Route, loopMark: string): FieldLine[] {
  const { peer, client } = exchange;
  const chain = sent(exchange, "x-forwarded-for");
  const prefix = prefixOf(route) || (sent(exchange, "x-forwarded-prefix") ?? "");
  const host = sent(exchange, "x-forwarded-host") ?? exchange.authority ?? "";
  const loops = exchange.field("cdn-loop");
  const fields: FieldLine[] = [];
  if (chain !== undefined && chain.trim() !== "")
    fields.push(["X-Forwarded-For", peer === "" ? chain : `${chain}, ${peer}`]);
  else if (peer !== "") fields.push(["X-Forwarded-For", peer]);
  if (client !== "") fields.push(["X-Real-IP", client]);
  const certificate = exchange.secured?.client;
  if (certificate) fields.push(["Client-Cert", certificate.field], ["X-Client-Subject", certificate.subject]);
  fields.push(["X-Forwarded-Proto", sent(exchange, "x-forwarded-proto") ?? (exchange.secure ? "https" : "http")]);
  if (host !== "") fields.push(["X-Forwarded-Host", host]);
  const port = sent(exchange, "x-forwarded-port") ?? exchange.hostPort;
  fields.push(["X-Forwarded-Port", port === "" ? String(exchange.localPort) : port]);
  fields.push(["X-Request-Id", exchange.id]);
  if (prefix !== "") fields.push(["X-Forwarded-Prefix", prefix]);
  const left = forwardsLeft(exchange);
  if (left !== undefined) fields.push(["Max-Forwards", String(left - 1)]);
  fields.push(["CDN-Loop", loops === undefined ? loopMark : `${loops}, ${loopMark}`]);
  const { drop } = route.requestEdits;
  return drop.size === 0 ? fields : fields.filter(([name]) => !drop.has(name.toLowerCase()));
}

function sent(exchange: Exchange, name: string): string | undefined {
  return exchange.trusted ? exchange.field(name) : undefined;
}

/** The Host of the upstream request: a rule's, the client's, or (HTTP/1.0 without one) the server's address. */
export function hostToUpstream(exchange: Exchange, route: Route, server: string): string {
  return route.requestEdits.host ?? exchange.authority ?? server;
}

/**
 * The target for the upstream: as it came, without our token parameters where the route reads them, or with the route's
 * path cut off (`strip_prefix`). The cut counts segments of the raw target, so that the rest keeps its encoding.
 */
export function targetToUpstream(exchange: Exchange, route: Route): string {
  const target = route.cutsTokens ? withoutTokens(exchange.target) : exchange.target;
  if (!route.stripPrefix || route.path === "/") return target;
  const query = target.indexOf("?");
  return restOfPath(target, route.path) + (query < 0 ? "" : target.slice(query));
}

/** The raw path of a target below a route's path, beginning with "/", without the query. */
export function restOfPath(target: string, routePath: string): string {
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  return routePath === "/" ? path : cutSegments(path, segmentCount(routePath));
}

/** What `strip_prefix` cuts off; "" = nothing. */
export function prefixOf(route: Route): string {
  return route.stripPrefix && route.path !== "/" ? route.path.replace(/\/$/, "") : "";
}

function segmentCount(path: string): number {
  return path.split("/").filter((part) => part !== "").length;
}

/** Cuts the first `count` real segments of a raw path, resolving dots and doubled slashes only as far as needed. */
function cutSegments(path: string, count: number): string {
  const parts = path.split("/");
  let depth = 0;
  for (let i = 1; i < parts.length; i++) {
    const part = parts[i]!.replace(/%2e/gi, ".");
    if (part === "" || part === ".") continue;
    if (part === "..") depth = Math.max(0, depth - 1);
    else depth++;
    if (depth === count && !climbsBack(parts, i + 1)) return `/${parts.slice(i + 1).join("/")}`;
  }
  return "/";
}

/** True when dot segments further on leave the part that was cut: then the cut lies further to the right. */
function climbsBack(parts: readonly string[], from: number): boolean {
  let depth = 0;
  for (let i = from; i < parts.length; i++) {
    const part = parts[i]!.replace(/%2e/gi, ".");
    if (part === "" || part === ".") continue;
    depth += part === ".." ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}

/** An IPv6 address as it stands in a URL or Host. */
export function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}
