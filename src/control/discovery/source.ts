/** Source: something that brings routes by itself. What it brings is plain data, merged with the file's rules. */
import type { PathRules } from "../../data/routing/rules.ts";
import type { ServerRule } from "../../config/shape.ts";
import type { GivenPair } from "../certificates/store.ts";
import type { SourceState } from "./standing.ts";

/** What a source says at one moment. */
export interface Brought {
  /** host, canonical → its paths; settings of a host are the file's business */
  readonly hosts: ReadonlyMap<string, BroughtHost>;
  /** the one that matters most first */
  readonly pairs: readonly GivenPair[];
  /** things that are wrong with what it says */
  readonly remarks: readonly string[];
}

export interface BroughtHost {
  /** path prefix, normal → its rules */
  readonly paths: ReadonlyMap<string, PathRules>;
  /** paths that match only themselves */
  readonly exact: ReadonlyMap<string, PathRules>;
}

export interface Source {
  readonly state: SourceState;
  /** it has said everything once */
  readonly complete: boolean;
  brought(): Brought;
  /** ends its questions; what it brought last stays readable */
  stop(): void;
}

export const nothing: Brought = { hosts: new Map(), pairs: [], remarks: [] };

/** Collects routes; of two for one host and path the first stays. */
export class RouteBook {
  readonly hosts = new Map<string, { paths: Map<string, PathRules>; exact: Map<string, PathRules> }>();
  readonly remarks: string[] = [];
  readonly #owners = new Map<string, string>();

  /** @param owner who brings it, for messages */
  add(host: string, path: string, exact: boolean, rules: PathRules, owner: string): void {
    let known = this.hosts.get(host);
    if (!known) this.hosts.set(host, (known = { paths: new Map(), exact: new Map() }));
    const map = exact ? known.exact : known.paths;
    const key = `${exact ? "=" : ""}${host}${path}`;
    if (map.has(path)) {
      this.remarks.push(`${owner}: ${host}${path} is ignored: ${this.#owners.get(key)} has it already`);
      return;
    }
    map.set(path, rules);
    this.#owners.set(key, owner);
  }
}

/** Servers in a steady order, none twice, so that the same members are the same rules. */
export function sortedServers(servers: readonly ServerRule[], keyOf: (server: ServerRule) => string): ServerRule[] {
  const byKey = new Map(servers.map((server) => [keyOf(server), server]));
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, server]) => server);
}
