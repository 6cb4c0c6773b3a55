/** Surroundings: what ACME has to know of the rules and of certificates that others have put there. */
import { join } from "node:path";
import type { Settings } from "../../config/settings.ts";
import type { CertificateSet } from "../../data/tls/certificate-set.ts";
import type { Table } from "../../data/routing/table.ts";
import { findHost } from "../../data/routing/match.ts";
import { stateFolder } from "../certificates/folders.ts";

/** Exact hosts and wildcards. */
export function hostsOf({ hosts, wildcards }: Table): string[] {
  return [...hosts.keys(), ...wildcards.map(({ host }) => host.name)];
}

/** DEFAULT answers for every name, and so says nothing of this one. */
export function isRouted(table: Table, name: string): boolean {
  const host = findHost(table, name);
  return host !== undefined && host !== table.fallback;
}

/** Names and `*.x` wildcards that certificates cover until then which are not from ACME. */
export function coveredUntil(
  set: CertificateSet | undefined,
  settings: Settings,
  untilMs: number,
): ReadonlySet<string> {
  const fetched = join(stateFolder(settings), "certificates/");
  const others = (set?.pairs ?? []).filter(
    ({ file, state, notAfterMs }) => state === "valid" && !file.startsWith(fetched) && notAfterMs > untilMs,
  );
  return new Set(others.flatMap(({ names }) => names));
}

/** @param covered from {@link coveredUntil} */
export function covers(covered: ReadonlySet<string>, name: string): boolean {
  return covered.has(name) || covered.has(`*${name.slice(name.indexOf("."))}`);
}
