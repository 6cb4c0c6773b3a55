/** Legacy: older forms of the original's files are rewritten in the tree, each with one warning that names its successor. */
import type { Entry, MapNode, Path, Span } from "./node.ts";
import { scalarNode } from "./node.ts";
import type { Report } from "./report.ts";

/** Warns once a file for each `id`: what was found and what to write instead. */
export function legacy(report: Report, at: Span, path: Path, id: string, message: string): void {
  report.add("warning", "legacy", at, path, message, { once: `legacy ${id}` });
}

/** The same for mistakes of the original's own files, which have no successor but a meaning. */
export function slip(report: Report, at: Span, path: Path, id: string, message: string): void {
  report.add("warning", "slip", at, path, message, { once: `slip ${id}` });
}

/**
 * Renames a key. Where the new name stands beside it, that one wins.
 * @returns the entry under its new name, or undefined when there was nothing to rename
 */
export function rename(
  map: MapNode,
  from: string,
  to: string,
  report: Report,
  path: Path,
  id = from,
): Entry | undefined {
  const entry = map.entries.get(from);
  if (!entry) return undefined;
  map.entries.delete(from);
  if (map.entries.has(to)) {
    legacy(
      report,
      entry.at,
      [...path, from],
      `${id} twice`,
      `\`${from}\` is the old name of \`${to}\`, which stands beside it: \`${from}\` is ignored`,
    );
    return undefined;
  }
  legacy(report, entry.at, [...path, from], id, `\`${from}\` is now called \`${to}\``);
  map.entries.set(to, entry);
  return entry;
}

/** Keys whose value is missing (`rate_limit:`) were "not given" to the original; guards without a value stay, as errors. */
export function dropEmpty(map: MapNode, report: Report, path: Path, known: (key: string) => boolean): void {
  for (const [key, { at, value }] of [...map.entries]) {
    if (value.kind !== "scalar" || value.value !== null || guards.has(key) || !known(key)) continue;
    map.entries.delete(key);
    slip(report, at, [...path, key], "empty", `\`${key}\` has no value and is ignored`);
  }
}

const guards = new Set([
  "authorization",
  "allow",
  "deny",
  "client_ca",
  "master_key",
  "trusted_proxies",
  "verify",
  "ca_file",
]);

/** What main.yaml of 2025 says about stickiness: its seconds, for upstreams.yaml. */
export interface SettingsLegacy {
  stickySeconds?: number;
}

/** Rewrites main.yaml (contract, 2.3). */
export function rewriteSettings(root: MapNode, report: Report): SettingsLegacy {
  const result: SettingsLegacy = {};
  rename(root, "proxy_certificates", "proxy_configs", report, []);
  userAndGroup(root, report);
  tlsGrade(root, report);
  logLevel(root, report);
  const pair = root.entries.get("tls_certificate") ?? root.entries.get("tls_key_file");
  if (pair) {
    const both = root.entries.has("tls_certificate") && root.entries.has("tls_key_file");
    const effect = both ? "they are served all the same" : "one without the other is ignored";
    const message = `\`tls_certificate\` and \`tls_key_file\` are now a pair NAME.crt and NAME.key in the folder \`proxy_configs\`/certificates; ${effect}`;
    legacy(
      report,
      pair.at,
      [root.entries.has("tls_certificate") ? "tls_certificate" : "tls_key_file"],
      "tls pair",
      message,
    );
  }
  const sticky = root.entries.get("sticky_sessions");
  if (sticky) {
    root.entries.delete("sticky_sessions");
    const off = sticky.value.kind === "scalar" && (sticky.value.value === false || sticky.value.value === null);
    result.stickySeconds = off ? 0 : 600;
    const effect = off ? "off" : "on for 600 s";
    legacy(
      report,
      sticky.at,
      ["sticky_sessions"],
      "sticky_sessions",
      `\`sticky_sessions\` belongs to upstreams.yaml now (here it is read as ${effect})`,
    );
  }
  return result;
}

/** Pingora's names. It dropped privileges before binding; ours are dropped after. */
function userAndGroup(root: MapNode, report: Report): void {
  const user = rename(root, "user", "runuser", report, []);
  const group = rename(root, "group", "rungroup", report, []);
  if (user && !root.entries.has("rungroup")) root.entries.set("rungroup", user);
  // A group alone changed nothing worth keeping, and there is no user to take it from.
  if (group && !root.entries.has("runuser")) root.entries.delete("rungroup");
}

const gradesOfOld: Record<string, string> = { "a+": "high", a: "medium", b: "medium", c: "medium" };
const grades = new Set(["high", "medium", "unsafe"]);

function tlsGrade(root: MapNode, report: Report): void {
  const entry = root.entries.get("proxy_tls_grade");
  if (entry?.value.kind !== "scalar" || grades.has(String(entry.value.value).toLowerCase())) return;
  const written = String(entry.value.value);
  const grade = gradesOfOld[written.toLowerCase()] ?? "medium";
  const message = `\`proxy_tls_grade: ${written}\` is not one of high, medium and unsafe: read as \`${grade}\``;
  legacy(report, entry.at, ["proxy_tls_grade"], "proxy_tls_grade", message);
  root.entries.set("proxy_tls_grade", { at: entry.at, value: scalarNode(grade, entry.value.span) });
}

const levels = new Set(["error", "warn", "info", "debug", "trace", "off", "false"]);

function logLevel(root: MapNode, report: Report): void {
  const entry = root.entries.get("log_level");
  if (entry?.value.kind !== "scalar" || levels.has(String(entry.value.value).toLowerCase())) return;
  const message = `\`log_level: ${entry.value.written}\` is not one of error, warn, info, debug, trace and off: read as \`info\``;
  report.add("note", "advice", entry.at, ["log_level"], message);
  root.entries.set("log_level", { at: entry.at, value: scalarNode("info", entry.value.span) });
}
