/** A look at the state folder from outside the running proxy: how far ACME is with each name. Changes nothing. */
import type { Settings } from "../../config/settings.ts";
import type { CertificateSet } from "../../data/tls/certificate-set.ts";
import { stateFolder } from "../certificates/folders.ts";
import { describe } from "../../lib/cause.ts";
import { wantedNames } from "./names.ts";
import { readEntry } from "./record.ts";
import { renewBeforeDaysDefault } from "./schedule.ts";
import { readOrdered, stateOf, type AcmeState } from "./state.ts";
import { coveredUntil, covers } from "./surroundings.ts";

/**
 * @param hosts of the rules, patterns and all
 * @param set of all certificate folders
 * @returns in name order
 */
export function lookAtAcme(settings: Settings, hosts: readonly string[], set: CertificateSet | undefined): AcmeState[] {
  const { acme } = settings;
  const folder = stateFolder(settings);
  const nowMs = Date.now();
  const untilMs = nowMs + (acme?.renew_before_days ?? renewBeforeDaysDefault) * 24 * 3_600_000;
  const covered = coveredUntil(set, settings, untilMs);
  const routed = new Set(hosts);
  const { names } = wantedNames({
    acme,
    hosts,
    isRouted: (name) => routed.has(name) || hosts.some((host) => host.startsWith("*.") && name.endsWith(host.slice(1))),
    ordered: readOrdered(folder),
    isCovered: (name) => covers(covered, name),
  });
  return names.toSorted().map((name) => lookAt(folder, name, acme?.renew_before_days, nowMs));
}

function lookAt(folder: string, name: string, renewBeforeDays: number | undefined, nowMs: number): AcmeState {
  try {
    return stateOf(readEntry(folder, name), renewBeforeDays, nowMs);
  } catch (error) {
    return { name, state: "failed", failures: 0, trouble: describe(error) };
  }
}
