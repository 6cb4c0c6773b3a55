/** The guards that a route's rules ask for, kind by kind; the nearest value wins (contract, section 14). */
import type { Levels } from "../routing/rules.ts";
import { allow, deny } from "./addresses.ts";
import type { Guard } from "./guard.ts";
import { maxBody } from "./limits/max-body.ts";
import { MaxConcurrent } from "./limits/max-concurrent.ts";
import { rateLimit } from "./limits/rate-limit.ts";
import { scopeOf } from "./limits/scope.ts";
import { X4xxLimit } from "./limits/x4xx-limit.ts";
import type { GuardState } from "./state.ts";

/** As matched: a host pattern and a path prefix. */
export interface RouteNames {
  readonly host: string;
  readonly path: string;
}

export function addressGuards([top, host, path]: Levels): Guard[] {
  const guards: Guard[] = [];
  const denied = path.deny ?? host.deny ?? top.deny ?? [];
  const allowed = path.allow ?? host.allow ?? top.allow ?? [];
  if (denied.length > 0) guards.push(deny(denied));
  if (allowed.length > 0) guards.push(allow(allowed));
  return guards;
}

/** In the contract's order: concurrency, rate, 4xx, body size. */
export function limitGuards(names: RouteNames, [top, host, path]: Levels, state: GuardState): Guard[] {
  const guards: Guard[] = [];
  const concurrent = path.max_concurrent ?? host.max_concurrent ?? top.max_concurrent ?? 0;
  if (concurrent > 0) guards.push(new MaxConcurrent(concurrent, scopeOf("max_concurrent", names.host), state.inFlight));
  const rate = path.rate_limit ?? host.rate_limit ?? top.rate_limit;
  if (rate !== undefined) {
    const scope = scopeOf("rate_limit", names.host, path.rate_limit === undefined ? "" : names.path);
    guards.push(rateLimit(rate, scope, state.windows));
  }
  const refusals = path.x4xx_limit ?? host.x4xx_limit ?? top.x4xx_limit;
  if (refusals !== undefined) guards.push(new X4xxLimit(refusals, scopeOf("x4xx_limit", names.host), state.windows));
  const body = path.max_body ?? host.max_body ?? top.max_body ?? 0;
  if (body > 0) guards.push(maxBody(body));
  return guards;
}
