/** Merge: the file's rules and what sources bring, into one set of rules; of two for one place the first named wins. */
import { normalisePathKey } from "../../data/routing/path.ts";
import type { HostRules, PathRules, Rules } from "../../data/routing/rules.ts";
import type { Brought, BroughtHost } from "./source.ts";

export interface Merged {
  readonly rules: Rules;
  readonly remarks: readonly string[];
}

/**
 * @param rules of the file; `provider` says in which order
 * @param sources provider → what it brings; `file` is in the rules themselves
 */
export function merge(rules: Rules, sources: ReadonlyMap<string, Brought>): Merged {
  const providers = rules.provider ?? ["file"];
  if (!providers.some((name) => sources.has(name))) return { rules, remarks: [] };
  const merging = new Merging(rules.upstreams ?? {});
  for (const name of new Set(providers)) {
    if (name === "file") merging.addFile();
    else merging.addSource(name, sources.get(name)?.hosts ?? new Map());
  }
  const { hosts, remarks } = merging;
  return { rules: hosts.size === 0 ? rules : { ...rules, upstreams: Object.fromEntries(hosts) }, remarks };
}

class Merging {
  readonly hosts = new Map<string, HostRules>();
  readonly remarks: string[] = [];
  /** host and path → the provider that has it */
  readonly #owners = new Map<string, string>();

  constructor(readonly file: Readonly<Record<string, HostRules>>) {}

  addFile(): void {
    for (const [host, rules] of Object.entries(this.file)) {
      const paths = this.#claim("file", host, Object.entries(rules.paths), false);
      // What stands under a host in the file holds for all its paths, whoever brings them.
      this.#put(host, { ...rules, paths: Object.fromEntries(paths) });
    }
  }

  addSource(provider: string, hosts: ReadonlyMap<string, BroughtHost>): void {
    for (const [host, { paths, exact }] of hosts) {
      const prefixes = this.#claim(provider, host, paths, false);
      const exacts = this.#claim(provider, host, exact, true);
      if (prefixes.length + exacts.length === 0) continue;
      this.#put(host, {
        paths: Object.fromEntries(prefixes),
        ...(exacts.length > 0 && { exact: Object.fromEntries(exacts) }),
      });
    }
  }

  #claim(
    provider: string,
    host: string,
    paths: Iterable<readonly [string, PathRules]>,
    exact: boolean,
  ): (readonly [string, PathRules])[] {
    return [...paths].filter(([path]) => {
      const key = `${exact ? "=" : ""}${host}${normalisePathKey(path) ?? path}`;
      // An exact path stands before a prefix, and so would take it away from whoever is named first; its own it may refine.
      const prefix = exact ? this.#owners.get(key.slice(1)) : undefined;
      const owner = this.#owners.get(key) ?? (prefix === provider ? undefined : prefix);
      if (owner === undefined) this.#owners.set(key, provider);
      else this.remarks.push(`${host}${path} of ${provider} is ignored: ${owner} is named first and has it too`);
      return owner === undefined;
    });
  }

  #put(host: string, rules: HostRules): void {
    const before = this.hosts.get(host);
    if (!before) return void this.hosts.set(host, rules);
    const exact = { ...before.exact, ...rules.exact };
    this.hosts.set(host, {
      ...before,
      ...rules,
      paths: { ...before.paths, ...rules.paths },
      ...(Object.keys(exact).length > 0 && { exact }),
    });
  }
}
