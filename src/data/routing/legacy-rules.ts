/** Legacy of upstreams.yaml: older forms and published slips are rewritten in the tree (contract, 3.4 and 3.5). */
import { dropEmpty, legacy, rename, slip } from "../../config/legacy.ts";
import { listAt, mapAt, scalarNode, type Entry, type ListNode, type MapNode, type Path } from "../../config/node.ts";
import type { Report } from "../../config/report.ts";
import { show, type Place } from "../../config/shape.ts";
import { checkPaths, dropPathHosts, nameHosts } from "./names.ts";
import { ruleKeys } from "./rules.ts";

export function isRuleKey(key: string, place: Place): boolean {
  return Object.hasOwn(ruleKeys, key) && (ruleKeys[key as keyof typeof ruleKeys].places as string).includes(place);
}

/** Rewrites the main file. Afterwards every host is under `upstreams`, by its canonical name. */
export function rewriteRules(root: MapNode, report: Report): void {
  spreadGlobals(root, report);
  rewriteCommon(root, report, [], "U");
  gatherHosts(root, report);
  dropEmpty(root, report, [], (key) => key === "upstreams" || isRuleKey(key, "U"));
  for (const section of ["consul", "kubernetes"]) {
    for (const [i, service] of (listAt(mapAt(root, section), "services")?.items ?? []).entries()) {
      if (service.kind === "map") rewriteService(service, report, [section, "services", i]);
    }
  }
  const upstreams = root.entries.get("upstreams");
  if (upstreams?.value.kind === "map") {
    root.entries.set("upstreams", { ...upstreams, value: rewriteHosts(upstreams.value, report, ["upstreams"]) });
  }
}

/** Rewrites the hosts below `upstreams:` or of a file of conf.d. @returns the map to use instead */
export function rewriteHosts(hosts: MapNode, report: Report, path: Path): MapNode {
  dropPathHosts(hosts, report, path);
  const named = nameHosts(hosts, report, path);
  for (const [name, { value }] of named.entries) if (value.kind === "map") rewriteHost(value, report, [...path, name]);
  return named;
}

/** A file of conf.d is a bare map of hosts; `upstreams:` around it is understood. */
export function rewriteHostFile(root: MapNode, report: Report): { hosts: MapNode; path: Path } {
  const inner = root.entries.get("upstreams")?.value;
  if (inner?.kind !== "map" || inner.entries.has("paths")) return { hosts: rewriteHosts(root, report, []), path: [] };
  for (const [key, { at, value }] of root.entries) {
    if (key === "upstreams") continue;
    if (value.kind === "map" && value.entries.has("paths")) {
      const twice = inner.entries.get(key);
      if (!twice) inner.entries.set(key, { at, value });
      else
        report.error(
          "duplicate",
          at,
          [key],
          `host "${key}" is given twice, the first time in line ${report.source.locate(twice.at.start).line}`,
        );
    } else report.error("unknown-key", at, [key], unknownInHostFile(key));
  }
  return { hosts: rewriteHosts(inner, report, ["upstreams"]), path: ["upstreams"] };
}

export function unknownInHostFile(key: string): string {
  return isRuleKey(key, "U")
    ? `\`${key}\` belongs to the top level of upstreams.yaml; a file of conf.d holds hosts only`
    : `unknown key \`${key}\``;
}

/** What 2025 wrote below `globals:` stands at the top level now. */
function spreadGlobals(root: MapNode, report: Report): void {
  const globals = root.entries.get("globals");
  if (!globals || (globals.value.kind === "map" && globals.value.entries.has("paths"))) return;
  root.entries.delete("globals");
  if (globals.value.kind !== "map") {
    if (globals.value.kind === "scalar" && globals.value.value === null)
      slip(report, globals.at, ["globals"], "empty", "`globals` has no value and is ignored");
    else report.error("value", globals.value.span, ["globals"], "expected a map");
    return;
  }
  for (const [key, entry] of globals.value.entries) {
    const to =
      key === "headers"
        ? "client_headers"
        : key === "to_ssl"
          ? "to_https"
          : key === "stickysessions"
            ? "sticky_sessions"
            : key;
    const path = ["globals", key];
    if (root.entries.has(to) || root.entries.has(key)) {
      legacy(
        report,
        entry.at,
        path,
        `globals.${key}`,
        `\`globals.${key}\` is the old place of \`${to}\`, which stands at the top level: it is ignored`,
      );
      continue;
    }
    legacy(report, entry.at, path, `globals.${key}`, `\`globals.${key}\` is now \`${to}\` at the top level`);
    root.entries.set(to, to === "authorization" ? unlist(entry) : to === "sticky_sessions" ? unbool(entry) : entry);
  }
}

/** A top-level key that is not ours is a host if it has `paths`; the original silently routed nothing there. */
function gatherHosts(root: MapNode, report: Report): void {
  const loose: [string, Entry][] = [];
  for (const [key, entry] of root.entries) {
    if (key === "upstreams" || isRuleKey(key, "U") || entry.value.kind !== "map") continue;
    if (entry.value.entries.has("paths") || key.startsWith("/")) loose.push([key, entry]);
  }
  if (loose.length === 0) return;
  const upstreams = root.entries.get("upstreams");
  const known = upstreams?.value.kind === "map" ? upstreams.value : undefined;
  const entries = new Map(known?.entries);
  for (const [key, entry] of loose) {
    root.entries.delete(key);
    const first = entries.get(key);
    if (first) {
      const { line } = report.source.locate(first.at.start);
      report.error(
        "duplicate",
        entry.at,
        [key],
        `host "${key}" is given twice, at the top level and under \`upstreams\` in line ${line}`,
      );
      continue;
    }
    if (!key.startsWith("/"))
      legacy(
        report,
        entry.at,
        [key],
        "top-level host",
        `host "${key}" stands at the top level: put hosts under \`upstreams:\``,
      );
    entries.set(key, entry);
  }
  const at = upstreams?.at ?? loose[0]![1].at;
  root.entries.set("upstreams", { at, value: { kind: "map", entries, span: known?.span ?? at } });
}

function rewriteHost(host: MapNode, report: Report, path: Path): void {
  rewriteCommon(host, report, path, "H");
  const servers = host.entries.get("servers");
  if (servers) serversOfHost(host, servers, report, path);
  dropEmpty(host, report, path, (key) => key !== "paths" && isRuleKey(key, "H"));
  const paths = mapAt(host, "paths");
  if (!paths) return;
  for (const key of ["rate_limit", "x4xx_limit"]) {
    const entry = paths.entries.get(key);
    if (!entry) continue;
    paths.entries.delete(key);
    const beaten = host.entries.has(key);
    slip(
      report,
      entry.at,
      [...path, "paths", key],
      `${key} among paths`,
      `\`${key}\` stands among the paths: read as the host's${beaten ? ", which has its own: it is ignored" : ""}`,
    );
    if (!beaten) host.entries.set(key, entry);
  }
  checkPaths(paths, report, [...path, "paths"], (key) => isRuleKey(key, "P") || isRuleKey(key, "H"));
  for (const [key, { value }] of paths.entries)
    if (value.kind === "map") rewritePath(value, report, [...path, "paths", key]);
}

function serversOfHost(host: MapNode, servers: Entry, report: Report, path: Path): void {
  host.entries.delete("servers");
  const paths = host.entries.get("paths");
  if (paths && paths.value.kind !== "map") return;
  const map: MapNode =
    paths?.value.kind === "map" ? paths.value : { kind: "map", entries: new Map(), span: servers.value.span };
  if (!paths) host.entries.set("paths", { at: servers.at, value: map });
  const beaten = map.entries.has("/");
  const meaning = beaten ? "ignored, because path `/` is there" : "read as those of path `/`";
  slip(
    report,
    servers.at,
    [...path, "servers"],
    "servers of host",
    `\`servers\` stands directly under the host: ${meaning}`,
  );
  if (!beaten)
    map.entries.set("/", {
      at: servers.at,
      value: { kind: "map", entries: new Map([["servers", servers]]), span: servers.value.span },
    });
}

function rewritePath(rules: MapNode, report: Report, path: Path): void {
  rewriteCommon(rules, report, path, "P");
  dropEmpty(rules, report, path, (key) => isRuleKey(key, "P"));
  const ssl = rules.entries.get("ssl");
  if (ssl?.value.kind === "scalar" && typeof ssl.value.value === "boolean") {
    rules.entries.delete("ssl");
    const effect = ssl.value.value ? "`protocol: https`" : "`protocol: auto`, which needs no key";
    legacy(report, ssl.at, [...path, "ssl"], `ssl ${ssl.value.value}`, `\`ssl: ${ssl.value.value}\` is now ${effect}`);
    if (ssl.value.value && !rules.entries.has("protocol"))
      rules.entries.set("protocol", { at: ssl.at, value: scalarNode("https", ssl.value.span) });
  }
  const redirect = rules.entries.get("redirect_to");
  if (redirect && rules.entries.has("servers")) {
    slip(
      report,
      redirect.at,
      [...path, "redirect_to"],
      "redirect with servers",
      "`redirect_to` answers every request here: `servers` beside it is not used and may go",
    );
  }
}

function rewriteService(service: MapNode, report: Report, path: Path): void {
  rename(service, "proxy", "hostname", report, path);
  rename(service, "real", "upstream", report, path);
  rewriteCommon(service, report, path, "P");
  dropEmpty(service, report, path, (key) => isRuleKey(key, "P") || key === "path");
}

/** What is old in the same way at every place. */
function rewriteCommon(map: MapNode, report: Report, path: Path, place: Place): void {
  const isHost = (key: string) => place === "U" && mapAt(map, key)?.entries.has("paths");
  if (!isHost("headers")) rename(map, "headers", "client_headers", report, path);
  if (!isHost("to_ssl")) rename(map, "to_ssl", "to_https", report, path);
  const oldSticky = isHost("stickysessions") ? undefined : map.entries.get("stickysessions");
  if (oldSticky && !map.entries.has("sticky_sessions")) {
    map.entries.delete("stickysessions");
    const now = unbool(oldSticky);
    legacy(
      report,
      oldSticky.at,
      [...path, "stickysessions"],
      "stickysessions",
      `\`stickysessions\` is now called \`sticky_sessions\`, in seconds: ${secondsOf(now)}`,
    );
    map.entries.set("sticky_sessions", now);
  } else if (oldSticky) rename(map, "stickysessions", "sticky_sessions", report, path);
  const sticky = map.entries.get("sticky_sessions");
  if (sticky?.value.kind === "scalar" && typeof sticky.value.value === "boolean") {
    const now = unbool(sticky);
    legacy(
      report,
      sticky.at,
      [...path, "sticky_sessions"],
      `sticky ${sticky.value.value}`,
      `\`sticky_sessions: ${sticky.value.value}\` is now a number of seconds: ${secondsOf(now)}`,
    );
    map.entries.set("sticky_sessions", now);
  }
  const authorization = map.entries.get("authorization");
  if (authorization)
    map.entries.set("authorization", rewriteAuthorization(authorization, report, [...path, "authorization"]));
}

function rewriteAuthorization(entry: Entry, report: Report, path: Path): Entry {
  const now = unlist(entry);
  if (now !== entry)
    legacy(
      report,
      entry.at,
      path,
      "authorization list",
      "`authorization: [type, value]` is now `authorization: {type: …, data: …}`",
    );
  if (now.value.kind === "map") rename(now.value, "creds", "data", report, path);
  return now;
}

/** `[type, value]` → `{type, data}`; anything else stays. */
function unlist(entry: Entry): Entry {
  const { value } = entry;
  if (value.kind !== "list" || value.items.length < 1 || value.items.length > 2) return entry;
  const [type, data] = (value as ListNode).items;
  const entries = new Map<string, Entry>([["type", { at: type!.span, value: type! }]]);
  if (data) entries.set("data", { at: data.span, value: data });
  return { at: entry.at, value: { kind: "map", entries, span: value.span } };
}

/** The bool of 2025 → seconds; anything else stays. */
function unbool(entry: Entry): Entry {
  const { value } = entry;
  if (value.kind !== "scalar" || typeof value.value !== "boolean") return entry;
  return { at: entry.at, value: scalarNode(value.value ? 600 : 0, value.span) };
}

function secondsOf({ value }: Entry): string {
  return value.kind === "scalar" ? `\`sticky_sessions: ${show(value.value)}\`` : "`sticky_sessions: 600`";
}
