/**
 * The spine: one request from top to bottom. Each listener engine opens the exchange and writes the reply; nothing below
 * knows which engine it was.
 */
import { isIP } from "node:net";
import { ipv4Number, normaliseIp } from "../lib/address.ts";
import { hasToken } from "../lib/fields.ts";
import { forwardedHopsMax, requestIdCharsMax } from "../lib/limits.ts";
import { close } from "./close.ts";
import { deliver } from "./deliver.ts";
import type { Exchange, Reply } from "./exchange.ts";
import { refuse } from "./guards/guard.ts";
import { allowedMethods, answerLastForward } from "./headers/max-forwards.ts";
import type { Plane } from "./plane.ts";
import { readAuthority } from "./routing/host.ts";
import { findHost, findRoute } from "./routing/match.ts";
import { normalisePath, readSeparators } from "./routing/path.ts";
import type { Route, Table } from "./routing/table.ts";

/** Answers one exchange, through {@link Exchange.reply}; nothing waits unless a guard or an upstream does. */
export function handle(plane: Plane, exchange: Exchange): void {
  identify(plane, exchange);
  const { table } = plane;
  const refused = arrive(table, exchange);
  if (refused) return close(plane, exchange, refused, "request");
  const route = exchange.route!;
  if (hasToken(exchange.field("cdn-loop"), plane.options.loopMark)) {
    return close(plane, exchange, refuse(508, "this request has passed through this proxy before"), "loop");
  }
  guard(plane, exchange, route, table, 0, exchange.startedMs);
}

/** Asks the route's guards from number `from` on; those that have to wait are waited for. @param nowMs performance.now() */
function guard(plane: Plane, exchange: Exchange, route: Route, table: Table, from: number, nowMs: number): void {
  const { guards } = route;
  for (let i = from; i < guards.length; i++) {
    const { name } = guards[i]!;
    const verdict = guards[i]!.check(exchange, route);
    if (verdict instanceof Promise) {
      verdict
        .then((late) =>
          late ? close(plane, exchange, late, name) : guard(plane, exchange, route, table, i + 1, performance.now()),
        )
        .catch((error: unknown) => exchange.fault(error));
      return;
    }
    if (verdict) return close(plane, exchange, verdict, name);
  }
  const last = answerLastForward(exchange);
  if (last) return close(plane, exchange, last, "max-forwards");
  // A guard may have put a route in its place that carries what it found out.
  deliver(plane, exchange, exchange.route!, table, nowMs);
}

/** Who asks, and under which id. Exported for `explain`, as is {@link arrive}. */
export function identify(plane: Plane, exchange: Exchange): void {
  const sent = exchange.field("x-request-id");
  exchange.id =
    sent !== undefined && sent.length <= requestIdCharsMax && /^[\x21-\x7e]+$/.test(sent) ? sent : crypto.randomUUID();
  const trusted = plane.options.trustedProxies;
  exchange.client = exchange.peer;
  if (trusted.empty || !trusted.has(exchange.peer)) return;
  exchange.trusted = true;
  const hops = exchange.field("x-forwarded-for");
  let end = hops?.length ?? 0;
  // From the right, which our own side wrote.
  for (let hop = 0; hop < forwardedHopsMax && end > 0; hop++) {
    const comma = hops!.lastIndexOf(",", end - 1);
    const ip = hopAddress(hops!.slice(comma + 1, end).trim());
    if (ip === undefined) return;
    exchange.client = ip;
    if (!trusted.has(ip)) return;
    end = comma;
  }
}

/** One hop of X-Forwarded-For, without the port and brackets that some balancers write. @returns undefined for what is no address */
function hopAddress(hop: string): string | undefined {
  if (ipv4Number(hop) >= 0) return hop;
  const bare = hop.replace(/^\[([^\]]+)\](?::\d{1,5})?$/, "$1").replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1");
  const ip = normaliseIp(bare);
  return isIP(ip) === 0 ? undefined : ip;
}

/** Host and target checks, then the route. @returns the refusal; undefined when the exchange has its route */
export function arrive(table: Table, exchange: Exchange): Reply | undefined {
  const { method, authority, target } = exchange;
  if (method === "CONNECT" || method === "TRACE")
    return refuse(405, `the method ${method} is not served here`, [["Allow", allowedMethods]]);
  if (authority !== undefined) {
    const read = readAuthority(authority);
    if (!read) return refuse(400, "the Host is not valid");
    exchange.host = read.host;
    exchange.hostPort = read.port;
  }
  const query = target.indexOf("?");
  // RFC 9110 9.3.7: an asterisk asks about the host as a whole.
  const path = target === "*" ? "/" : normalisePath(query < 0 ? target : target.slice(0, query));
  if (path === undefined || target.includes("#")) return refuse(400, "the target is not valid");
  exchange.path = path;
  const host = findHost(table, exchange.host);
  if (!host) return refuse(table.unmatchedStatus, "no route for this host");
  const route = findRoute(host, path);
  const otherReading = readSeparators(path);
  if (otherReading !== undefined && findRoute(host, otherReading) !== route) {
    return refuse(400, "an encoded slash or backslash here could lead to another route");
  }
  if (!route) return refuse(table.unmatchedStatus, "no route for this path");
  exchange.route = route;
  return undefined;
}
