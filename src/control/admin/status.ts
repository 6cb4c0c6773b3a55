/** `GET /status`: the routes and their members as they are now; the original's two shapes, and a fuller one. */
import type { Route, Table } from "../../data/routing/table.ts";
import type { Rules } from "../../data/routing/rules.ts";
import { wireOf, type Member } from "../../data/upstream/pool.ts";
import type { Refusals } from "../../data/observe/refusals.ts";
import { statusRoutesPerTurn } from "../../lib/limits.ts";
import type { LastLoad } from "../reload.ts";
import type { Version } from "../history.ts";
import { reply, type AdminRequest, type Endpoint } from "./endpoint.ts";

export interface StatusOptions {
  table(): Table;
  rules(): Rules | undefined;
  /** newest first */
  versions(): readonly Version[];
  lastLoad(): LastLoad | undefined;
  readonly refusals: Refusals;
  readonly release: string;
  /** brings counters of other processes up to date */
  collect(): Promise<void>;
  listeners(): readonly { readonly name: string; readonly url: string }[];
  /** exchanges under way */
  open(): number;
  /** why it is not ready; undefined = it is */
  unready(): string | undefined;
  /** further members of the full form, by name */
  more?(): Readonly<Record<string, unknown>>;
}

export function statusEndpoint(options: StatusOptions): Endpoint {
  return {
    methods: ["GET"],
    path: "/status",
    access: "read",
    async answer(request) {
      await options.collect();
      return reply(200, "application/json", await render(options, request), "");
    },
  };
}

function render(options: StatusOptions, { query }: AdminRequest): Promise<string> {
  const table = options.table();
  if (query.has("live")) return byHost(table, ({ pool }) => ({ backends: (pool?.members ?? []).map(live) }));
  if (query.has("all")) {
    const rules = options.rules();
    return byHost(table, (route) => ({
      backends: (route.pool?.members ?? []).map((member) => all(member, route, rules)),
      requests: route.pool?.turn.requests ?? 0,
    }));
  }
  return full(options, table);
}

/** `{host: {path: …}}`, with a break now and then: tens of thousands of routes must not hold up the proxy. */
async function byHost(table: Table, show: (route: Route) => unknown): Promise<string> {
  const hosts = new Map<string, string[]>();
  await eachRoute(table, (route) => {
    // "=/x" is an exact path; the host may have the prefix "/x" too.
    const line = `${JSON.stringify(route.name.slice(route.host.length))}:${JSON.stringify(show(route))}`;
    const paths = hosts.get(route.host);
    if (paths) paths.push(line);
    else hosts.set(route.host, [line]);
  });
  return `{${[...hosts].map(([host, paths]) => `${JSON.stringify(host)}:{${paths.join(",")}}`).join(",")}}\n`;
}

async function eachRoute({ routes }: Table, visit: (route: Route) => void): Promise<void> {
  for (const [i, route] of routes.entries()) {
    if (i > 0 && i % statusRoutesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    visit(route);
  }
}

function live(member: Member) {
  return { ...placeOf(member), alive: isAlive(member, performance.now()) };
}

function all(member: Member, { host, path, name }: Route, rules: Rules | undefined) {
  const hostRules = rules?.upstreams?.[host];
  const written = name === host + path ? hostRules?.paths : hostRules?.exact;
  const own = Object.entries(written ?? {}).find(([key]) => key === path || key === `${path}/`)?.[1];
  const near = <K extends "rate_limit" | "x4xx_limit">(key: K) => own?.[key] ?? hostRules?.[key] ?? rules?.[key];
  const wire = wireOf(member);
  return {
    ...placeOf(member),
    is_ssl: wire === "https" || wire === "h2",
    is_http2: wire === "h2" || wire === "h2c",
    to_https: own?.to_https === true || hostRules?.to_https === true || rules?.to_https === true,
    rate_limit: near("rate_limit") ?? null,
    x4xx_limit: near("x4xx_limit") ?? null,
    healthcheck: member.health.probe !== undefined,
  };
}

/** A unix socket has its path for an address, and no port. */
function placeOf({ endpoint: { address, name } }: Member) {
  return "unix" in address ? { address: name, port: 0 } : { address: address.host, port: address.port };
}

/** It gets requests: neither down by its checks nor put aside by failures. */
function isAlive({ health }: Member, nowMs: number): boolean {
  return health.state !== "down" && health.asideUntilMs <= nowMs;
}

async function full(options: StatusOptions, table: Table): Promise<string> {
  const nowMs = performance.now();
  const routes: string[] = [];
  let members = 0;
  let out = 0;
  await eachRoute(table, (route) => {
    for (const member of route.pool?.members ?? []) {
      members++;
      if (!isAlive(member, nowMs)) out++;
    }
    routes.push(JSON.stringify(routeOf(route, nowMs)));
  });
  const [inForce] = options.versions();
  const load = options.lastLoad();
  const errors = load?.problems.filter(({ severity }) => severity === "error") ?? [];
  const unready = options.unready();
  const head = {
    release: options.release,
    bun: Bun.version,
    pid: process.pid,
    started: new Date(performance.timeOrigin).toISOString(),
    uptime_seconds: Math.round(performance.now() / 1000),
    ready: unready === undefined,
    ...(unready !== undefined && { unready }),
    listeners: options.listeners(),
    requests_open: options.open(),
    rules: {
      version: inForce?.version ?? "",
      origin: inForce?.origin ?? "files",
      since: inForce ? new Date(inForce.timeMs).toISOString() : "",
      routes: routes.length,
      members,
      members_out: out,
    },
    last_load: load && {
      time: new Date(load.timeMs).toISOString(),
      ok: load.ok,
      errors: errors.length,
      ...(errors[0] && { first_error: `${errors[0].file}:${errors[0].line}: ${errors[0].message}` }),
    },
    refused: refusedOf(options.refusals),
    ...options.more?.(),
  };
  return `${JSON.stringify(head).slice(0, -1)},"routes":[${routes.join(",")}]}\n`;
}

function refusedOf(refusals: Refusals): Record<string, number> {
  const counts: Record<string, number> = {};
  refusals.each((reason, count) => {
    if (count > 0) counts[reason] = count;
  });
  return counts;
}

function routeOf(route: Route, nowMs: number) {
  const { name, host, path, guards, pool, files } = route;
  const redirects = guards.some((guard) => guard.name === "redirect_to");
  return {
    route: name,
    host,
    path,
    kind: pool ? "servers" : files ? "files" : redirects ? "redirect" : "none",
    guards: guards.map((guard) => guard.name),
    ...(pool && { requests: pool.turn.requests, members: pool.members.map((member) => memberOf(member, nowMs)) }),
  };
}

function memberOf(member: Member, nowMs: number) {
  const { endpoint, health, weight } = member;
  const aside = health.asideUntilMs > nowMs;
  return {
    server: endpoint.name,
    state: health.state === "down" ? "down" : aside ? "aside" : health.probe ? health.state : "unchecked",
    alive: isAlive(member, nowMs),
    ...((health.state === "down" || aside) && { cause: health.cause }),
    protocol: member.protocol === "auto" ? (endpoint.wire ?? "unknown") : member.protocol,
    weight,
    in_flight: endpoint.inFlight,
  };
}
