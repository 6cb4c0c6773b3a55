/** The names of hosts and paths in upstreams.yaml: checked, hosts brought to the form in which requests are matched. */
import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import type { Entry, MapNode, Path } from "../../config/node.ts";
import type { Report } from "../../config/report.ts";
import { isHostName } from "../../lib/address.ts";
import { normalisePathKey } from "./path.ts";
import { defaultHost } from "./rules.ts";

/**
 * The form in which a host is matched: lower case, no final dot, IDN as `xn--…`, IPv6 compressed in brackets;
 * `*.example.com` and DEFAULT stay.
 * @throws Error that says what is wrong
 */
export function canonicalHost(written: string): string {
  if (written === defaultHost) return written;
  if (written === "*") throw new Error(`"*" is not a host: the catch-all is called ${defaultHost}`);
  if (written.includes("://")) throw new Error(`"${written}" is a URL: expected a host name without a scheme`);
  const bare = written.startsWith("[") && written.endsWith("]") ? written.slice(1, -1) : written;
  if (isIPv6(bare)) return ipv6(bare);
  const port = /^(.*):[0-9]+$/.exec(written);
  if (port) throw new Error(`"${written}" names a port: expected a host name alone, such as "${port[1]}"`);
  const wildcard = written.startsWith("*.");
  let name = (wildcard ? written.slice(2) : written).toLowerCase();
  if (/[^\x00-\x7f]/.test(name)) name = domainToASCII(name);
  if (name.endsWith(".")) name = name.slice(0, -1);
  if (!(isHostName(name) || (isIPv4(name) && !wildcard))) {
    throw new Error(
      `"${written}" is not a host name: expected a DNS name, an IP address, *.example.com or ${defaultHost}`,
    );
  }
  return wildcard ? `*.${name}` : name;
}

/** A browser sends an IPv6 literal compressed (WHATWG URL), so that is the form to match. */
function ipv6(address: string): string {
  if (address.includes("%")) throw new Error(`"${address}" has a zone: expected an IPv6 address without one`);
  return new URL(`http://[${address}]/`).hostname;
}

/**
 * Renames the hosts of a map to their canonical form; a bad or repeated one is an error.
 * @returns the rewritten map
 */
export function nameHosts(hosts: MapNode, report: Report, path: Path): MapNode {
  const entries = new Map<string, Entry>();
  for (const [written, entry] of hosts.entries) {
    let name = written;
    try {
      name = canonicalHost(written);
    } catch (error) {
      report.error("value", entry.at, [...path, written], (error as Error).message);
    }
    const first = entries.get(name);
    if (first) {
      const { line } = report.source.locate(first.at.start);
      report.error(
        "duplicate",
        entry.at,
        [...path, written],
        `host "${written}" is given twice, the first time in line ${line}`,
      );
      continue;
    }
    if (name === "default") {
      report.add(
        "note",
        "advice",
        entry.at,
        [...path, written],
        `"${written}" is an ordinary host name: the catch-all is ${defaultHost}, in capitals`,
      );
    }
    entries.set(name, entry);
  }
  return { ...hosts, entries };
}

/** Checks the path keys of one host; two that match the same requests are an error. */
export function checkPaths(paths: MapNode, report: Report, path: Path, isKey: (key: string) => boolean): void {
  const seen = new Map<string, number>();
  for (const [key, { at }] of paths.entries) {
    const here = [...path, key];
    const normal = key.startsWith("/") && !/[?#\x00-\x1f\x7f]/.test(key) ? normalisePathKey(key) : undefined;
    if (normal === undefined) {
      const hint = isKey(key) ? ": this key belongs under a path or under the host" : "";
      const wanted = key.startsWith("/") ? 'without control characters, "?" and "#"' : 'beginning with "/"';
      report.error("value", at, here, `"${key}" is not a path: expected one ${wanted}${hint}`);
      continue;
    }
    const first = seen.get(normal);
    if (first !== undefined) {
      const { line } = report.source.locate(first);
      report.error(
        "duplicate",
        at,
        here,
        `path "${key}" is given twice: it matches the same requests as the one in line ${line}`,
      );
      continue;
    }
    seen.set(normal, at.start);
    if (normal !== "/" && normal.endsWith("/")) {
      const message = `"${key}" ends in a slash and matches only that very path, not what is below it: write "${key.replace(/\/+$/, "")}"`;
      report.add("warning", "advice", at, here, message, { once: "final slash" });
    }
  }
}

/** Takes out "hosts" that are paths: published examples of the original hold an ACME challenge path among the hosts. */
export function dropPathHosts(hosts: MapNode, report: Report, path: Path): void {
  for (const [name, { at }] of [...hosts.entries]) {
    if (!name.startsWith("/")) continue;
    hosts.entries.delete(name);
    const message = `"${name}" is a path, not a host, and is ignored (ACME challenges are answered by the proxy itself)`;
    report.add("warning", "slip", at, [...path, name], message, { once: "path as host" });
  }
}
