/** What a change of rules means route by route: which keys differ, and which of these decide who may do what. */
import { normalisePathKey } from "../data/routing/path.ts";
import { defaultHost, type HostRules, type Levels, type PathRules, type Rules } from "../data/routing/rules.ts";
import { routeChangesMax } from "../lib/limits.ts";
import type { Outline } from "./changes.ts";

export interface RouteChange {
  readonly change: "added" | "removed" | "changed";
  /** host + path; "" = the top level */
  readonly route: string;
  /** names of the keys whose effective values differ; never a value */
  readonly keys: readonly string[];
  /** those of them that guard it; for an added or removed route: compared with the route that answers in its place */
  readonly security: readonly string[];
}

export interface RouteChanges {
  /** at most {@link routeChangesMax}, security-relevant ones first */
  readonly shown: readonly RouteChange[];
  readonly more: number;
  /** security-relevant ones among all */
  readonly security: number;
}

export const noChanges: RouteChanges = { shown: [], more: 0, security: 0 };

/** Keys that decide who may reach what, how often, and how far the other side is believed. */
const guarding: ReadonlySet<string> = new Set([
  "authorization",
  "allow",
  "deny",
  "client_ca",
  "client_auth",
  "to_https",
  "hsts",
  "rate_limit",
  "x4xx_limit",
  "max_concurrent",
  "max_body",
  "verify",
  "ca_file",
]);

/** Keys of the top level that belong to no route. */
const ofTopAlone: ReadonlySet<string> = new Set([
  "provider",
  "unmatched_status",
  "retry_budget",
  "consul",
  "kubernetes",
]);

/**
 * @param before undefined when there were none
 * @param outlines of both: only routes that differ there are looked at
 */
export function routeChanges(
  before: Rules | undefined,
  after: Rules,
  outlines: { readonly before: Outline; readonly after: Outline },
): RouteChanges {
  const old: Rules = before ?? { provider: ["file"] };
  const found = [...topChanges(old, after)];
  for (const [host, { paths }] of Object.entries(after.upstreams ?? {})) {
    for (const path of Object.keys(paths)) {
      const name = host + path;
      const hash = outlines.before.routes.get(name);
      if (hash === outlines.after.routes.get(name)) continue;
      if (hash !== undefined) found.push(...changed(name, levelsOf(old, host, path)!, levelsOf(after, host, path)!));
      else found.push(moved("added", name, covering(old, host, path), levelsOf(after, host, path)!));
    }
  }
  for (const [host, { paths }] of Object.entries(old.upstreams ?? {})) {
    for (const path of Object.keys(paths)) {
      const name = host + path;
      if (outlines.after.routes.has(name)) continue;
      found.push(moved("removed", name, covering(after, host, path), levelsOf(old, host, path)!));
    }
  }
  const flagged = found.filter(({ security }) => security.length > 0);
  const sorted = [...flagged, ...found.filter(({ security }) => security.length === 0)];
  const shown = sorted.slice(0, routeChangesMax);
  return { shown, more: sorted.length - shown.length, security: flagged.length };
}

/** One line, `+ a.test/x` with what a reviewer wants to know behind it. */
export function showRouteChange({ change, route, keys, security }: RouteChange): string {
  const sign = { added: "+", removed: "-", changed: "~" }[change];
  const flag = security.length > 0 ? ` [security: ${security.join(", ")}]` : "";
  return `${sign} ${route === "" ? "(top level)" : route}${keys.length > 0 ? ` ${keys.join(", ")}` : ""}${flag}`;
}

function* topChanges(before: Rules, after: Rules): Iterable<RouteChange> {
  const keys = [...ofTopAlone].filter((key) => !same(valueOf(before, key), valueOf(after, key)));
  if (keys.length > 0) yield { change: "changed", route: "", keys, security: [] };
}

function* changed(route: string, before: Levels, after: Levels): Iterable<RouteChange> {
  const keys = differing(before, after);
  // A key of the top level that this route overrides changes nothing here.
  if (keys.length > 0) yield { change: "changed", route, keys, security: keys.filter((key) => guarding.has(key)) };
}

/** @param instead the route that answered before, or answers from now on, in place of this one */
function moved(change: "added" | "removed", route: string, instead: Levels | undefined, own: Levels): RouteChange {
  const security = instead ? differing(instead, own).filter((key) => guarding.has(key)) : [];
  return { change, route, keys: [], security };
}

/** The route that answers for this one while it does not exist. */
function covering(rules: Rules, host: string, path: string): Levels | undefined {
  const hosts = rules.upstreams ?? {};
  const own = Object.hasOwn(hosts, host) ? longest(rules, host, path) : undefined;
  return own ?? (host === defaultHost ? undefined : elsewhere(rules, host, path));
}

/** By a wildcard, the longest first, or the catch-all: hosts that do not exist themselves are answered there. */
function elsewhere(rules: Rules, host: string, path: string): Levels | undefined {
  if (Object.hasOwn(rules.upstreams ?? {}, host)) return undefined;
  const bare = host.startsWith("*.") ? host.slice(2) : host;
  for (let dot = bare.indexOf("."); dot >= 0; dot = bare.indexOf(".", dot + 1)) {
    const wildcard = `*${bare.slice(dot)}`;
    if (wildcard !== host && Object.hasOwn(rules.upstreams ?? {}, wildcard)) return longest(rules, wildcard, path);
  }
  return longest(rules, defaultHost, path);
}

/** As matching does it: whole segments from the right are dropped until a path is there. */
function longest(rules: Rules, host: string, path: string): Levels | undefined {
  const hosts = rules.upstreams ?? {};
  if (!Object.hasOwn(hosts, host)) return undefined;
  const keys = keysOf(hosts[host]!);
  for (let prefix = normalisePathKey(path) ?? path; ;) {
    const key = keys.get(prefix === "" ? "/" : prefix);
    if (key !== undefined) return levelsOf(rules, host, key);
    if (prefix === "" || prefix === "/") return undefined;
    prefix = prefix.slice(0, Math.max(0, prefix.lastIndexOf("/")));
  }
}

const keysByHost = new WeakMap<HostRules, ReadonlyMap<string, string>>();

/** The paths of a host in normal form, each with its key in the file. */
function keysOf(host: HostRules): ReadonlyMap<string, string> {
  let keys = keysByHost.get(host);
  if (!keys) {
    keys = new Map(Object.keys(host.paths).map((key) => [normalisePathKey(key) ?? key, key]));
    keysByHost.set(host, keys);
  }
  return keys;
}

function levelsOf(rules: Rules, host: string, path: string): Levels | undefined {
  const hostRules: HostRules | undefined = rules.upstreams?.[host];
  const own: PathRules | undefined = hostRules?.paths[path];
  return hostRules && own ? [rules, hostRules, own] : undefined;
}

function differing(before: Levels, after: Levels): string[] {
  const keys = new Set([...before, ...after].flatMap((level) => Object.keys(level)));
  return [...keys].filter(
    (key) =>
      key !== "upstreams" &&
      key !== "paths" &&
      !ofTopAlone.has(key) &&
      !same(effective(before, key), effective(after, key)),
  );
}

/** The value as `compile` would find it, or all three where levels are merged. */
function effective(levels: Levels, key: string): unknown {
  const values = levels.map((level) => valueOf(level, key));
  if (key === "to_https") return values.includes(true);
  if (key === "authorization") return authorizationOf(values as Rules["authorization"][]);
  if (key === "allow" || key === "deny") return values.findLast((value) => value !== undefined) ?? [];
  const maps = values.some((value) => typeof value === "object" && value !== null);
  if (maps && key !== "servers") return values;
  return values.findLast((value) => value !== undefined);
}

/** Opting out is the same as having none. */
function authorizationOf(values: readonly Rules["authorization"][]): Rules["authorization"] {
  const nearest = values.findLast((value) => value !== undefined);
  return nearest?.type === "none" ? undefined : nearest;
}

function valueOf(level: object, key: string): unknown {
  return Object.hasOwn(level, key) ? (level as Record<string, unknown>)[key] : undefined;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
