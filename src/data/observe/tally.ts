/**
 * Tally: what one process has counted since it told last, as plain data, so that another can add it to its own counters.
 * Growth is told, never totals: what was told stays told when the process is gone, and is never counted twice.
 */
import type { Plane } from "../plane.ts";
import type { Turn } from "../upstream/turn.ts";
import type { EndpointCounters, EndpointFigures } from "./endpoint-counters.ts";
import type { HistogramFigures } from "./histogram.ts";
import type { RefusalReason } from "./refusals.ts";
import type { RouteCounters, RouteFigures } from "./route-counters.ts";

export interface Tally {
  readonly routes: readonly { readonly host: string; readonly route: string; readonly figures: RouteFigures }[];
  readonly endpoints: readonly { readonly endpoint: string; readonly figures: EndpointFigures }[];
  readonly versions: Float64Array;
  readonly overhead: HistogramFigures;
  readonly refusals: ReadonlyMap<RefusalReason, number>;
  /** requests of routes with a pool that have ended, by name */
  readonly turns: ReadonlyMap<string, number>;
}

/** Remembers what one plane has told. */
export class Tallies {
  readonly #routes = new WeakMap<RouteCounters, { requests: number; figures: RouteFigures }>();
  readonly #endpoints = new WeakMap<EndpointCounters, EndpointFigures>();
  readonly #turns = new WeakMap<Turn, number>();
  readonly #refusals = new Map<RefusalReason, number>();
  #versions: Float64Array;
  #overhead: HistogramFigures;

  constructor(readonly plane: Plane) {
    this.#versions = plane.metrics.versions.slice();
    this.#overhead = plane.metrics.overhead.figures();
  }

  /** @returns the growth since the last call, which counts as told from now on */
  take(): Tally {
    const { metrics, refusals, table } = this.plane;
    const versions = metrics.versions.slice();
    const overhead = metrics.overhead.figures();
    const tally: Tally = {
      routes: [...metrics.everyRoute()].flatMap((counters) => this.#routeGrowth(counters) ?? []),
      endpoints: [...metrics.everyEndpoint()].flatMap((counters) => this.#endpointGrowth(counters) ?? []),
      versions: growth(versions, this.#versions),
      overhead: histogramGrowth(overhead, this.#overhead),
      refusals: new Map(),
      turns: new Map(),
    };
    this.#versions = versions;
    this.#overhead = overhead;
    refusals.each((reason, count) => this.#add(tally.refusals, reason, count, this.#refusals));
    for (const { name, pool } of table.routes) {
      if (pool && pool.turn.requests > 0 && pool.turn.requests !== (this.#turns.get(pool.turn) ?? 0))
        this.#add(tally.turns, name, pool.turn.requests, this.#turns, pool.turn);
    }
    return tally;
  }

  /**
   * To be called after a new table has come into force, in the same turn of the loop as a {@link take} before it: the
   * totals of former routes have taken over counts that were told by their routes' names.
   */
  rebase(): void {
    const { formerRoutes } = this.plane.metrics;
    this.#routes.set(formerRoutes, { requests: formerRoutes.requests, figures: formerRoutes.figures() });
  }

  #routeGrowth(counters: RouteCounters): Tally["routes"][number] | undefined {
    const { requests, host, route } = counters;
    const told = this.#routes.get(counters);
    if (requests === (told?.requests ?? 0)) return undefined;
    const figures = counters.figures();
    this.#routes.set(counters, { requests, figures });
    return { host, route, figures: told ? routeGrowth(figures, told.figures) : figures };
  }

  #endpointGrowth(counters: EndpointCounters): Tally["endpoints"][number] | undefined {
    const told = this.#endpoints.get(counters);
    let failures = 0;
    for (const count of counters.failures.values()) failures += count;
    for (const count of told?.failures.values() ?? []) failures -= count;
    if (counters.requests === (told?.requests ?? 0) && failures === 0) return undefined;
    const figures = counters.figures();
    this.#endpoints.set(counters, figures);
    return { endpoint: counters.endpoint, figures: told ? endpointGrowth(figures, told) : figures };
  }

  /** @param told what was told of it, by `as` */
  #add<K, T>(
    to: ReadonlyMap<K, number>,
    key: K,
    count: number,
    told: { get(as: T): number | undefined; set(as: T, count: number): unknown },
    as = key as unknown as T,
  ): void {
    const more = count - (told.get(as) ?? 0);
    if (more === 0) return;
    (to as Map<K, number>).set(key, more);
    told.set(as, count);
  }
}

/** Adds what another process has counted to a plane's own counters. */
export function addTally({ metrics, refusals, ledger }: Plane, tally: Tally): void {
  for (const { host, route, figures } of tally.routes) metrics.addRoute(host, route, figures);
  for (const { endpoint, figures } of tally.endpoints) metrics.addEndpoint(endpoint, figures);
  tally.versions.forEach((count, i) => (metrics.versions[i]! += count));
  metrics.overhead.addFigures(tally.overhead);
  for (const [reason, count] of tally.refusals) refusals.count(reason, count);
  for (const [route, count] of tally.turns) {
    const turn = ledger.findTurn(route);
    if (turn) turn.requests += count;
  }
}

function routeGrowth(now: RouteFigures, before: RouteFigures): RouteFigures {
  return {
    rows: now.rows.map((row, method) => row && growth(row, before.rows[method])),
    sums: growth(now.sums, before.sums),
    denied: mapGrowth(now.denied, before.denied),
    duration: histogramGrowth(now.duration, before.duration),
  };
}

function endpointGrowth(now: EndpointFigures, before: EndpointFigures): EndpointFigures {
  return {
    requests: now.requests - before.requests,
    latency: histogramGrowth(now.latency, before.latency),
    failures: mapGrowth(now.failures, before.failures),
  };
}

function histogramGrowth(now: HistogramFigures, before: HistogramFigures): HistogramFigures {
  return { counts: growth(now.counts, before.counts), sumMs: now.sumMs - before.sumMs };
}

function growth(now: Float64Array, before: Float64Array | undefined): Float64Array {
  return before ? now.map((count, i) => count - before[i]!) : now;
}

function mapGrowth<K>(now: ReadonlyMap<K, number>, before: ReadonlyMap<K, number>): ReadonlyMap<K, number> {
  const more = new Map<K, number>();
  for (const [key, count] of now) {
    const grown = count - (before.get(key) ?? 0);
    if (grown !== 0) more.set(key, grown);
  }
  return more;
}
