/** The list form: `services:` of upstreams.yaml, each a route whose members a source knows (contract, section 8). */
import type { ServerRule } from "../../config/shape.ts";
import type { ServiceRule } from "../../data/routing/discovery-rules.ts";
import { canonicalHost } from "../../data/routing/names.ts";
import { normalisePathKey } from "../../data/routing/path.ts";
import type { PathRules } from "../../data/routing/rules.ts";
import type { RouteBook } from "./source.ts";

/**
 * A service's route exists from the start, without members until they are known: 503 then, never a shorter path that may
 * be open to everybody.
 */
export function addServices<S extends ServiceRule>(
  book: RouteBook,
  services: readonly S[],
  serversOf: (service: S) => ServerRule[],
): void {
  for (const service of services) {
    const path = service.path ?? "/";
    const rules: PathRules = { ...settingsOf(service), servers: serversOf(service) };
    const owner = `service "${service.upstream}"`;
    book.add(canonicalHost(service.hostname), normalisePathKey(path) ?? path, false, rules, owner);
  }
}

function settingsOf({ to_https, rate_limit, x4xx_limit, ...service }: ServiceRule): PathRules {
  const { client_headers, server_headers, sticky_sessions, authorization } = service;
  const settings = {
    to_https,
    rate_limit,
    x4xx_limit,
    client_headers,
    server_headers,
    sticky_sessions,
    authorization,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}
