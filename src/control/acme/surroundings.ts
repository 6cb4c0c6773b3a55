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

/** Whether a certificate that is not from ACME covers a name until then. */
export function coversUntil(
  set: CertificateSet | undefined,
  settings: Settings,
  name: string,
  untilMs: number,
): boolean {
  const fetched = join(stateFolder(settings), "certificates/");
  const wildcard = `*${name.slice(name.indexOf("."))}`;
  return (set?.pairs ?? []).some(
    ({ file, names, state, notAfterMs }) =>
      state === "valid" &&
      !file.startsWith(fetched) &&
      notAfterMs > untilMs &&
      (names.includes(name) || names.includes(wildcard)),
  );
}
