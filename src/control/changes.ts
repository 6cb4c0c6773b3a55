/** What a reload changed: hosts, routes and servers, counted and named for the summary. */
import { showAddress } from "../lib/address.ts";
import type { Rules } from "../data/routing/rules.ts";

/** The parts of a rule set that a change is counted in. */
export interface Outline {
  readonly hosts: ReadonlySet<string>;
  /** route name → hash of everything that decides it */
  readonly routes: ReadonlyMap<string, string>;
  readonly servers: ReadonlySet<string>;
}

export const emptyOutline: Outline = { hosts: new Set(), routes: new Map(), servers: new Set() };

export function outline(rules: Rules): Outline {
  const { upstreams = {}, ...top } = rules;
  const routes = new Map<string, string>();
  const servers = new Set<string>();
  const topText = JSON.stringify(top);
  for (const [host, { paths, exact = {}, ...settings }] of Object.entries(upstreams)) {
    const outer = topText + JSON.stringify(settings);
    const exacts = Object.entries(exact).map(([path, own]) => [`=${path}`, own] as const);
    for (const [path, own] of [...Object.entries(paths), ...exacts]) {
      routes.set(host + path, Bun.hash(outer + JSON.stringify(own)).toString(36));
      for (const server of own.servers ?? []) servers.add(showAddress(server.address));
    }
  }
  return { hosts: new Set(Object.keys(upstreams)), routes, servers };
}

/** "+1 host, ~2 routes, -1 server", or "nothing". */
export function describeChanges(before: Outline, after: Outline): string {
  const parts: string[] = [];
  const count = (sign: string, noun: string, n: number) => {
    if (n > 0) parts.push(sign + plural(n, noun));
  };
  const missing = (from: Iterable<string>, has: (name: string) => boolean) =>
    [...from].filter((name) => !has(name)).length;
  count(
    "+",
    "host",
    missing(after.hosts, (name) => before.hosts.has(name)),
  );
  count(
    "-",
    "host",
    missing(before.hosts, (name) => after.hosts.has(name)),
  );
  count(
    "+",
    "route",
    missing(after.routes.keys(), (name) => before.routes.has(name)),
  );
  count(
    "~",
    "route",
    [...after.routes].filter(([name, hash]) => before.routes.has(name) && before.routes.get(name) !== hash).length,
  );
  count(
    "-",
    "route",
    missing(before.routes.keys(), (name) => after.routes.has(name)),
  );
  count(
    "+",
    "server",
    missing(after.servers, (name) => before.servers.has(name)),
  );
  count(
    "-",
    "server",
    missing(before.servers, (name) => after.servers.has(name)),
  );
  return parts.length === 0 ? "nothing" : parts.join(", ");
}

export function plural(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
