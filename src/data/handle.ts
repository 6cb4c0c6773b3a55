/**
 * The spine: one request from top to bottom. Each listener engine opens the exchange and writes the reply; nothing below
 * knows which engine it was.
 */
import { isIP } from "node:net";
import { normaliseIp } from "../lib/address.ts";
import { hasToken } from "../lib/fields.ts";
import { forwardedHopsMax, requestIdCharsMax } from "../lib/limits.ts";
import { deliver } from "./deliver.ts";
import type { Exchange, Reply } from "./exchange.ts";
import { refuse } from "./guards/guard.ts";
import { redactTarget } from "./observe/redact.ts";
import type { Plane } from "./plane.ts";
import { readAuthority } from "./routing/host.ts";
import { findHost, findRoute } from "./routing/match.ts";
import { normalisePath, readSeparators } from "./routing/path.ts";
import type { Route, Table } from "./routing/table.ts";

/** @returns undefined when the engine's connection became a WebSocket and there is no reply to write */
export async function handle(plane: Plane, exchange: Exchange): Promise<Reply | undefined> {
  identify(plane, exchange);
  const { table } = plane;
  const found = arrive(table, exchange);
  if ("status" in found) return close(plane, exchange, found, "request");
  exchange.route = found;
  if (hasToken(exchange.field("cdn-loop"), plane.options.loopMark)) {
    return close(plane, exchange, refuse(508, "this request has passed through this proxy before"), "loop");
  }
  for (const guard of found.guards) {
    const waiting = guard.check(exchange, found);
    const verdict = waiting instanceof Promise ? await waiting : waiting;
    if (verdict) return close(plane, exchange, verdict, guard.name);
  }
  // A guard may have put a route in its place that carries what it found out.
  const reply = await deliver(plane, exchange, exchange.route, table);
  return reply && close(plane, exchange, reply, "");
}

/** Who asks, and under which id. */
function identify(plane: Plane, exchange: Exchange): void {
  const sent = exchange.field("x-request-id");
  exchange.id =
    sent !== undefined && sent.length <= requestIdCharsMax && /^[\x21-\x7e]+$/.test(sent) ? sent : crypto.randomUUID();
  const trusted = plane.options.trustedProxies;
  exchange.client = exchange.peer;
  if (trusted.empty || !trusted.has(exchange.peer)) return;
  exchange.trusted = true;
  const hops = exchange.field("x-forwarded-for")?.split(",") ?? [];
  for (const hop of hops.reverse().slice(0, forwardedHopsMax)) {
    const ip = hopAddress(hop.trim());
    if (ip === undefined) return;
    exchange.client = ip;
    if (!trusted.has(ip)) return;
  }
}

/** One hop of X-Forwarded-For, without the port and brackets that some balancers write. @returns undefined for what is no address */
function hopAddress(hop: string): string | undefined {
  const bare = hop.replace(/^\[([^\]]+)\](?::\d{1,5})?$/, "$1").replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1");
  const ip = normaliseIp(bare);
  return isIP(ip) === 0 ? undefined : ip;
}

/** Host and target checks, then the route. */
function arrive(table: Table, exchange: Exchange): Route | Reply {
  const { method, authority, target } = exchange;
  if (method === "CONNECT" || method === "TRACE")
    return refuse(405, `the method ${method} is not served here`, [
      ["Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"],
    ]);
  if (authority !== undefined) {
    const read = readAuthority(authority);
    if (!read) return refuse(400, "the Host is not valid");
    exchange.host = read.host;
    exchange.hostPort = read.port;
  }
  const query = target.indexOf("?");
  const path = normalisePath(query < 0 ? target : target.slice(0, query));
  if (path === undefined || target.includes("#")) return refuse(400, "the target is not valid");
  exchange.path = path;
  const host = findHost(table, exchange.host);
  if (!host) return refuse(table.unmatchedStatus, "no route for this host");
  const route = findRoute(host, path);
  const otherReading = readSeparators(path);
  if (otherReading !== undefined && findRoute(host, otherReading) !== route) {
    return refuse(400, "an encoded slash or backslash here could lead to another route");
  }
  return route ?? refuse(table.unmatchedStatus, "no route for this path");
}

/** Every reply leaves through here: our own ones get the request id and their one log line. */
function close(plane: Plane, exchange: Exchange, reply: Reply, deniedBy: string): Reply {
  if (reply.passed) return reply;
  exchange.deniedBy = deniedBy;
  reply.fields.push(["X-Request-Id", exchange.id]);
  if (reply.why === "") return reply;
  const level = reply.status >= 500 ? "warn" : "info";
  const member = exchange.member ? `, member: ${exchange.member.endpoint.name}` : "";
  plane.options.log(
    level,
    "answer",
    `${reply.status} ${exchange.method} ${redactTarget(exchange.target)}, host: ${exchange.authority ?? "-"}, route: ${exchange.route?.name ?? "-"}${member}, client: ${exchange.client}, id: ${exchange.id}: ${reply.why}`,
  );
  return reply;
}
