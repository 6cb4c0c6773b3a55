/** Which host and route a request belongs to: exact host, longest wildcard, DEFAULT; then the longest path prefix. */
import type { HostTable, Route, Table } from "./table.ts";

/** @param host lower case, without port and final dot; "" when the request names none */
export function findHost(table: Table, host: string): HostTable | undefined {
  const exact = table.hosts.get(host);
  if (exact) return exact;
  for (const { suffix, host: wildcard } of table.wildcards)
    if (host.length > suffix.length && host.endsWith(suffix)) return wildcard;
  return table.fallback;
}

/**
 * Whole segments only: `/foo` answers for `/foo`, `/foo/` and `/foo/bar`, not for `/foobar`. A key with a final slash
 * answers for exactly itself.
 * @param path from `normalisePath`
 */
export function findRoute(host: HostTable, path: string): Route | undefined {
  const exact = host.exact?.get(path) ?? host.paths.get(path);
  if (exact) return exact;
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
    const route = host.paths.get(path.slice(0, end));
    if (route) return route;
  }
  return host.paths.get("/");
}
