/** Names: which ones get certificates by ACME, which do not and why. */
import type { Settings } from "../../config/settings.ts";
import { acmeNamesMax } from "../../lib/limits.ts";
import { isHostName } from "../../lib/address.ts";
import { directoryUrl, isPublicDirectory, isPublicName } from "./directories.ts";

/** Names are file names in the state folder, with an ending. */
const nameCharsMax = 200;

export interface NameSources {
  readonly acme: NonNullable<Settings["acme"]> | undefined;
  /** hosts of the rules, patterns and all */
  readonly hosts: readonly string[];
  /** whether requests for this name have a host in the rules, other than DEFAULT */
  isRouted(name: string): boolean;
  /** ordered by hand before */
  readonly ordered: readonly string[];
  /** whether a certificate that somebody has put there covers it for long enough */
  isCovered(name: string): boolean;
}

export interface WantedNames {
  readonly names: readonly string[];
  /** name → why it gets none */
  readonly skipped: ReadonlyMap<string, string>;
}

export function wantedNames(sources: NameSources): WantedNames {
  const { acme, hosts, ordered } = sources;
  const names = new Set<string>();
  const skipped = new Map<string, string>();
  for (const name of acme?.domains ?? []) names.add(name);
  if (acme?.hosts === "all") {
    for (const host of hosts) {
      const reason = names.has(host) ? undefined : reasonAgainst(host, sources);
      if (reason === undefined) names.add(host);
      else if (reason !== "") skipped.set(host, reason);
    }
  }
  for (const name of ordered) {
    if (names.has(name)) continue;
    if (sources.isRouted(name)) names.add(name);
    else skipped.set(name, "it was ordered before, but is no host of the rules any more");
  }
  for (const name of [...names].slice(acmeNamesMax)) {
    names.delete(name);
    skipped.set(name, `there are more than ${acmeNamesMax} names`);
  }
  return { names: [...names], skipped };
}

/** @returns undefined when it gets one; "" when nobody would expect that */
function reasonAgainst(host: string, { acme, isCovered }: NameSources): string | undefined {
  if (host === "DEFAULT") return "";
  if (host.startsWith("*.")) return "a wildcard can only be proved by DNS";
  if (!isOrderable(host)) return "it is no DNS name";
  if (isPublicDirectory(directoryUrl(acme?.directory)) && !isPublicName(host)) return "it is no public name";
  return isCovered(host) ? "" : undefined;
}

/** A DNS name in lower case without wildcard and final dot, of which a file name can be made. */
export function isOrderable(name: string): boolean {
  return name.length <= nameCharsMax && isHostName(name) && name === name.toLowerCase() && !name.endsWith(".");
}
