/**
 * Compile: Rules → Table, and the one place where top level, host and path settings meet: the nearest wins, maps merge
 * key by key, header lists merge by name, `to_https` is OR-ed (contract, section 14).
 */
import { showAddress, type DialAddress, type ListenAddress, type Protocol } from "../../lib/address.ts";
import { openFileTree, type FileTree } from "../forward/files.ts";
import { authorize, type AuthorizationContext } from "../guards/authorization/authorize.ts";
import type { AuthorizationRule } from "../guards/authorization/rules.ts";
import { closed } from "../guards/closed.ts";
import type { Guard } from "../guards/guard.ts";
import { addressGuards, limitGuards, type RouteNames } from "../guards/configured.ts";
import { redirectTo } from "../guards/redirect.ts";
import { toHttps } from "../guards/to-https.ts";
import { compileEdits, mergeHeaderRules } from "../headers/edits.ts";
import type { Probe } from "../upstream/endpoint.ts";
import { healthKey, type Ledger } from "../upstream/ledger.ts";
import { Pool, type Member } from "../upstream/pool.ts";
import { stickyId } from "../upstream/sticky.ts";
import { normalisePathKey } from "./path.ts";
import { defaultHost, type HostRules, type Levels, type PathRules, type Rules } from "./rules.ts";
import type { HostTable, Route, Table, Trust } from "./table.ts";

/** What Settings contribute to a table. */
export interface CompileContext extends AuthorizationContext {
  readonly ledger: Ledger;
  readonly version: string;
  readonly healthMethod: string;
  readonly healthIntervalSeconds: number;
  /** port of the TLS listener, or undefined while there is none */
  readonly tlsPort: number | undefined;
  /** where the admin API listens or would listen: such an upstream never carries traffic (A1) */
  readonly adminAddress: ListenAddress;
  readonly caFile: string | undefined;
  readonly clientCa: boolean;
  readonly stickyKey: Uint8Array;
}

/** A member's health question, for control to ask. */
export interface HealthTarget {
  readonly key: string;
  readonly address: DialAddress;
  readonly probe: Probe;
}

export interface Compiled {
  readonly table: Table;
  readonly targets: readonly HealthTarget[];
}

/** @throws Error when a folder of `files` or a `ca_file` cannot be opened; nothing else can fail on checked rules */
export function compile(rules: Rules, context: CompileContext): Compiled {
  const hosts = new Map<string, HostTable>();
  const wildcards: { suffix: string; host: HostTable }[] = [];
  const routes: Route[] = [];
  const targets = new Map<string, HealthTarget>();
  let fallback: HostTable | undefined;
  let redirectsWithoutTls = false;
  for (const [name, host] of Object.entries(rules.upstreams ?? {})) {
    const paths = new Map<string, Route>();
    for (const [path, own] of Object.entries(host.paths)) {
      const route = compileRoute(name, path, [rules, host, own], context, targets);
      if (!route) continue;
      redirectsWithoutTls ||= context.tlsPort === undefined && route.guards.some((guard) => guard.name === "to_https");
      paths.set(route.path, route);
      routes.push(route);
    }
    const table: HostTable = { name, paths };
    if (name === defaultHost) fallback = table;
    else if (name.startsWith("*.")) wildcards.push({ suffix: name.slice(1), host: table });
    else hosts.set(name, table);
  }
  if (redirectsWithoutTls)
    context.warn("to_https is on but there is no TLS listener: redirecting to https://HOST without a port");
  wildcards.sort((a, b) => b.suffix.length - a.suffix.length);
  const table: Table = {
    version: context.version,
    hosts,
    wildcards,
    fallback,
    routes,
    unmatchedStatus: rules.unmatched_status ?? 404,
    retryBudgetPercent: rules.retry_budget ?? 20,
  };
  return { table, targets: [...targets.values()] };
}

function compileRoute(
  host: string,
  pathKey: string,
  levels: Levels,
  context: CompileContext,
  targets: Map<string, HealthTarget>,
): Route | undefined {
  const [top, hostRules, own] = levels;
  const path = normalisePathKey(pathKey) ?? pathKey;
  const name = host + path;
  const admin = own.servers?.find((server) => isAdmin(server.address, context.adminAddress));
  if (admin) {
    context.warn(
      `route ${name} is switched off: its server ${showAddress(admin.address)} is this proxy's own admin address (config_address), which the public must never reach; if that is a server of yours, give config_address another port`,
    );
    return undefined;
  }
  const near = <K extends keyof PathRules & keyof HostRules & keyof Rules>(key: K) =>
    own[key] ?? hostRules[key] ?? top[key];
  const requestEdits = compileEdits(mergeHeaderRules(top.server_headers, hostRules.server_headers, own.server_headers));
  const trust = trustOf(levels, host, requestEdits.host, context);
  const timeouts = {
    connect: 5,
    first_byte: 60,
    idle: 60,
    stream: 3600,
    ...top.timeouts,
    ...hostRules.timeouts,
    ...own.timeouts,
  };
  const stickySeconds = near("sticky_sessions") ?? 0;
  return {
    host,
    path,
    name,
    guards: guardsOf({ host, path }, levels, context),
    files: own.files === undefined ? undefined : fileTree(own.files, name),
    pool:
      own.servers && !own.redirect_to
        ? compilePool(host, path, levels, trust, stickySeconds > 0, context, targets)
        : undefined,
    requestEdits,
    responseEdits: compileEdits(mergeHeaderRules(top.client_headers, hostRules.client_headers, own.client_headers)),
    stripPrefix: own.strip_prefix ?? false,
    cutsTokens: near("authorization")?.type === "jwt",
    timeouts: {
      connectMs: timeouts.connect * 1000,
      firstByteMs: timeouts.first_byte * 1000,
      idleMs: timeouts.idle * 1000,
      streamMs: timeouts.stream * 1000,
    },
    retries: near("retries") ?? 2,
    retryBodyBytesMax: near("retry_body") ?? 64 * 1024,
    maxBodyBytes: near("max_body") ?? 0,
    stickySeconds,
    trust,
  };
}

function fileTree(folder: string, route: string): FileTree {
  try {
    return openFileTree(folder);
  } catch (error) {
    throw new Error(`Cannot serve files of route ${route} from "${folder}": ${(error as Error).message}`);
  }
}

/** Guards in the order they run (contract, section 1); only those that are configured. */
function guardsOf(names: RouteNames, levels: Levels, context: CompileContext): Guard[] {
  const [top, host, path] = levels;
  const guards: Guard[] = [];
  const status = path.redirect_status ?? host.redirect_status ?? top.redirect_status ?? 301;
  if (path.to_https || host.to_https || top.to_https) guards.push(toHttps(status, context.tlsPort));
  if (context.clientCa || host.client_ca !== undefined) guards.push(closed("client_ca"));
  guards.push(...addressGuards(levels), ...limitGuards(names, levels, context.guardState));
  const authorization = path.authorization ?? host.authorization ?? top.authorization;
  const asks = authorization && authorizationGuard(authorization, names, context);
  if (asks) guards.push(asks);
  if (path.redirect_to !== undefined) guards.push(redirectTo(path.redirect_to, status));
  return guards;
}

function authorizationGuard(rule: AuthorizationRule, { host, path }: RouteNames, context: CompileContext) {
  try {
    return authorize(rule, host, context);
  } catch (error) {
    throw new Error(`Cannot use the authorization of route ${host}${path}: ${(error as Error).message}`);
  }
}

function trustOf(
  [top, host, path]: Levels,
  hostName: string,
  sentHost: string | undefined,
  context: CompileContext,
): Trust {
  const caFile = path.ca_file ?? host.ca_file ?? top.ca_file ?? context.caFile;
  const verify = path.verify ?? host.verify ?? top.verify ?? caFile !== undefined;
  const fromHost = sentHost ?? (hostName === defaultHost || hostName.startsWith("*.") ? "" : hostName);
  return {
    verify,
    caFile,
    ca: caFile === undefined ? undefined : context.readCa(caFile),
    serverName: path.server_name ?? fromHost.replace(/:[0-9]+$/, ""),
  };
}

function compilePool(
  host: string,
  path: string,
  levels: Levels,
  trust: Trust,
  sticky: boolean,
  context: CompileContext,
  targets: Map<string, HealthTarget>,
): Pool {
  const [top, hostRules, own] = levels;
  const ejection = {
    maxFails: own.max_fails ?? hostRules.max_fails ?? top.max_fails ?? 3,
    failMs: (own.fail_timeout ?? hostRules.fail_timeout ?? top.fail_timeout ?? 5) * 1000,
  };
  const members = own.servers!.map((server): Member => {
    const endpoint = context.ledger.endpoint(server.address);
    const asked = server.protocol ?? own.protocol ?? "auto";
    const probe = probeOf(host, path, levels, asked, trust, endpoint.name, context);
    // Without checks nothing is asked, so `auto` can only mean plain HTTP/1.1.
    const protocol: Protocol = asked === "auto" && !probe ? "http" : asked;
    const key = healthKey(server.address, probe, ejection);
    if (probe) targets.set(key, { key, address: server.address, probe });
    return {
      endpoint,
      health: context.ledger.health(key, endpoint, probe, ejection),
      healthKey: key,
      weight: server.weight,
      protocol,
      stickyId: sticky ? stickyId(context.stickyKey, host, path, endpoint.name) : "",
    };
  });
  return new Pool(members, context.ledger.turn(host + path));
}

function probeOf(
  host: string,
  path: string,
  levels: Levels,
  protocol: Protocol,
  trust: Trust,
  server: string,
  context: CompileContext,
): Probe | undefined {
  const written = levels.map((level) => level.healthcheck);
  const nearest = written.findLast((value) => value !== undefined);
  if (nearest === false) return undefined;
  const check = Object.assign({}, ...written.filter((value) => typeof value === "object")) as Exclude<
    Rules["healthcheck"],
    boolean | undefined
  >;
  const interval = check.interval ?? context.healthIntervalSeconds;
  const named = host !== defaultHost && !host.startsWith("*.");
  return {
    protocol,
    method: check.method ?? context.healthMethod,
    path: check.path ?? encodeURI(path).replaceAll("%25", "%"),
    host: check.host ?? (named ? host : server.startsWith("unix:") ? "localhost" : server),
    serverName: trust.serverName,
    verify: trust.verify,
    caFile: trust.caFile,
    expect: check.expect ?? [[200, 499]],
    intervalMs: interval * 1000,
    timeoutMs: (check.timeout ?? Math.min(interval, 5)) * 1000,
    rise: check.rise ?? 2,
    fall: check.fall ?? 3,
  };
}

/** The original's shipped example routes DEFAULT to its own admin API: anybody could reconfigure the proxy (A1). */
function isAdmin(server: DialAddress, admin: ListenAddress): boolean {
  if ("unix" in server || "unix" in admin) return "unix" in server && "unix" in admin && server.unix === admin.unix;
  if (server.port !== admin.port) return false;
  const local = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"];
  return server.host === admin.hostname || (local.includes(server.host) && local.includes(admin.hostname));
}
