/**
 * Compile: Rules → Table, and the one place where top level, host and path settings meet: the nearest wins, maps merge
 * key by key, header lists merge by name, `to_https` is OR-ed (contract, section 14).
 */
import { networkInterfaces } from "node:os";
import {
  AddressSet,
  normaliseIp,
  showAddress,
  type DialAddress,
  type ListenAddress,
  type Protocol,
} from "../../lib/address.ts";
import { openFileTree, type FileTree } from "../forward/files.ts";
import { clientCertificate } from "../guards/client-certificate.ts";
import { authorize, type AuthorizationContext } from "../guards/authorization/authorize.ts";
import type { AuthorizationRule } from "../guards/authorization/rules.ts";
import type { Guard } from "../guards/guard.ts";
import { addressGuards, limitGuards, type RouteNames } from "../guards/configured.ts";
import { redirectTo } from "../guards/redirect.ts";
import { toHttps } from "../guards/to-https.ts";
import { compileEdits, mergeHeaderRules } from "../headers/edits.ts";
import { compileHsts } from "../headers/hsts.ts";
import type { HeaderRule } from "../headers/rules.ts";
import { clientPolicy, type ClientPolicy } from "../tls/client-policy.ts";
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
  /** port of the TLS listener, asked when it is needed; undefined while there is none */
  readonly tlsPort: (() => number) | undefined;
  /** the grade of the TLS listener is high: then `to_https` brings HSTS */
  readonly tlsHigh: boolean;
  /** where the admin API listens or would listen: such an upstream never carries traffic (A1) */
  readonly adminAddresses: readonly ListenAddress[];
  readonly caFile: string | undefined;
  /** PEM file of the TLS port's client authorities */
  readonly clientCa: string | undefined;
  readonly clientAuth: "require" | "request";
  /** the TLS listener, where there is one, can tell who shows a certificate */
  readonly clientCertificates: boolean;
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

/** @throws Error when a folder of `files`, a `ca_file` or a `client_ca` cannot be used; nothing else can fail on checked rules */
export function compile(rules: Rules, context: CompileContext): Compiled {
  const hosts = new Map<string, HostTable>();
  const wildcards: { suffix: string; host: HostTable }[] = [];
  const routes: Route[] = [];
  const targets = new Map<string, HealthTarget>();
  let fallback: HostTable | undefined;
  let redirectsWithoutTls = false;
  const policies = new ClientPolicies(rules, context);
  for (const [name, host] of Object.entries(rules.upstreams ?? {})) {
    const paths = new Map<string, Route>();
    const exact = new Map<string, Route>();
    const clientPolicy = policies.of(name, host);
    const certificate = policies.used ? clientCertificate(clientPolicy) : undefined;
    const add = (into: Map<string, Route>, path: string, own: PathRules) => {
      const place = { host: name, path, exact: into === exact };
      const route = compileRoute(place, [rules, host, own], certificate, context, targets);
      if (!route) return;
      redirectsWithoutTls ||= context.tlsPort === undefined && route.guards.some((guard) => guard.name === "to_https");
      into.set(route.path, route);
      routes.push(route);
    };
    for (const [path, own] of Object.entries(host.paths)) add(paths, path, own);
    for (const [path, own] of Object.entries(host.exact ?? {})) add(exact, path, own);
    const table: HostTable = { name, paths, exact: exact.size > 0 ? exact : undefined, clientPolicy };
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
    clientPolicy: policies.port,
    routes,
    unmatchedStatus: rules.unmatched_status ?? 404,
    retryBudgetPercent: rules.retry_budget ?? 20,
  };
  return { table, targets: [...targets.values()] };
}

interface RoutePlace {
  readonly host: string;
  /** as written */
  readonly path: string;
  readonly exact: boolean;
}

function compileRoute(
  { host, path: pathKey, exact }: RoutePlace,
  levels: Levels,
  certificate: Guard | undefined,
  context: CompileContext,
  targets: Map<string, HealthTarget>,
): Route | undefined {
  const [top, hostRules, own] = levels;
  const path = normalisePathKey(pathKey) ?? pathKey;
  const name = `${host}${exact ? "=" : ""}${path}`;
  const admin = own.servers?.find(({ address }) => context.adminAddresses.some((listen) => isAdmin(address, listen)));
  if (admin) {
    context.warn(
      `route ${name} is switched off: its server ${showAddress(admin.address)} is this proxy's own admin address (config_address), which the public must never reach; if that is a server of yours, give config_address another port`,
    );
    return undefined;
  }
  const near = <K extends keyof PathRules & keyof HostRules & keyof Rules>(key: K) =>
    own[key] ?? hostRules[key] ?? top[key];
  const requestEdits = compileEdits(mergeHeaderRules(top.server_headers, hostRules.server_headers, own.server_headers));
  const answerRules = mergeHeaderRules(top.client_headers, hostRules.client_headers, own.client_headers);
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
    guards: guardsOf({ host, path }, levels, certificate, context),
    files: own.files === undefined ? undefined : fileTree(own.files, name),
    pool:
      own.servers && !own.redirect_to
        ? compilePool({ host, path, name }, levels, trust, stickySeconds > 0, context, targets)
        : undefined,
    requestEdits,
    responseEdits: compileEdits(answerRules),
    hsts: hstsOf(levels, answerRules, context),
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
function guardsOf(names: RouteNames, levels: Levels, certificate: Guard | undefined, context: CompileContext): Guard[] {
  const [top, host, path] = levels;
  const guards: Guard[] = [];
  const status = path.redirect_status ?? host.redirect_status ?? top.redirect_status ?? 301;
  if (path.to_https || host.to_https || top.to_https) guards.push(toHttps(status, context.tlsPort));
  if (certificate) guards.push(certificate);
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

/** A year by default, where plain requests are redirected and nobody is let in by an old protocol (contract, section 14). */
function hstsOf([top, host, path]: Levels, rules: readonly HeaderRule[], context: CompileContext): string | undefined {
  const redirects = path.to_https || host.to_https || top.to_https;
  return compileHsts(host.hsts ?? top.hsts ?? (redirects && context.tlsHigh ? 31_536_000 : 0), rules);
}

/** The client certificates that hosts ask for, and the port for all others. */
class ClientPolicies {
  readonly port: ClientPolicy | undefined;
  /** some host of the port asks for one */
  readonly used: boolean;

  constructor(
    rules: Rules,
    readonly context: CompileContext,
  ) {
    this.port = context.clientCa === undefined ? undefined : this.#read("the port", context.clientCa, undefined);
    const hosts = Object.values(rules.upstreams ?? {});
    this.used = this.port !== undefined || hosts.some((host) => host.client_ca !== undefined);
  }

  of(name: string, host: HostRules): ClientPolicy | undefined {
    const file = host.client_ca ?? (host.client_auth === undefined ? undefined : this.context.clientCa);
    return file === undefined ? this.port : this.#read(`host ${name}`, file, host.client_auth);
  }

  #read(of: string, file: string, auth: "require" | "request" | undefined): ClientPolicy {
    if (!this.context.clientCertificates)
      throw new Error(
        `Cannot ask for client certificates (\`client_ca\` of ${of}): Bun.serve hides them; set \`listener_engine: socket\``,
      );
    try {
      return clientPolicy(this.context.readCa(file), (auth ?? this.context.clientAuth) === "require");
    } catch (error) {
      throw new Error(`Cannot use client_ca "${file}" of ${of}: ${(error as Error).message}`);
    }
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
  { host, path, name }: Pick<Route, "host" | "path" | "name">,
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
  return new Pool(members, context.ledger.turn(name));
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
  if (server.host === admin.hostname) return true;
  const local = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"];
  if (local.includes(server.host) && local.includes(admin.hostname)) return true;
  return (admin.hostname === "0.0.0.0" || admin.hostname === "::") && isThisMachine(normaliseIp(server.host));
}

const loopback = new AddressSet(["loopback"]);

/** Names are not looked up here: a request that comes back through ourselves is cut by the admin API (CDN-Loop). */
function isThisMachine(ip: string): boolean {
  return loopback.has(ip) || Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === ip));
}
