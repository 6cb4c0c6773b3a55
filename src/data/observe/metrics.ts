/**
 * Metrics of one data plane: plain numbers that the hot path counts in, and a scrape reads. They outlive tables: a route
 * that stays keeps its counters, one that goes leaves them to the totals.
 */
import { metricEndpointsMax, metricRoutesMax } from "../../lib/limits.ts";
import type { Exchange } from "../exchange.ts";
import type { Failure } from "../failure.ts";
import type { Ending } from "../plane.ts";
import type { Table } from "../routing/table.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import { EndpointCounters, type EndpointFigures } from "./endpoint-counters.ts";
import { Histogram, overheadBounds } from "./histogram.ts";
import { RouteCounters, type RouteFigures } from "./route-counters.ts";
import { versionLabels, versionSlot } from "./slots.ts";

/** Guards that answer without refusing anything. */
const notRefusing: ReadonlySet<string> = new Set(["", "to_https", "redirect_to", "max-forwards"]);

export class Metrics {
  /** requests that lead to no route */
  readonly unrouted = new RouteCounters("(none)", "(none)");
  /** of the separate file listener */
  readonly files = new RouteCounters("(files)", "(files)");
  /** routes and endpoints beyond the bound share one each */
  readonly otherRoutes = new RouteCounters("(other)", "(other)");
  readonly otherEndpoints = new EndpointCounters("(other)");
  /** routes that are gone, for the totals: counters never go back */
  readonly formerRoutes = new RouteCounters("", "");
  /** the same by host, for hosts that are still there */
  readonly formerByHost = new Map<string, number>();
  readonly versions = new Float64Array(versionLabels.length);
  /** time in the proxy itself, of requests without a body that the first member answered */
  readonly overhead = new Histogram(overheadBounds);
  #routes = new Map<string, RouteCounters>();
  #endpoints = new Map<string, EndpointCounters>();
  /** of the table in force */
  #hosts: ReadonlySet<string> = new Set();

  /** Those with counters of their own, in the order of the table. */
  get routes(): Iterable<RouteCounters> {
    return this.#routes.values();
  }

  get endpoints(): Iterable<EndpointCounters> {
    return this.#endpoints.values();
  }

  /** Gives the routes and endpoints of a new table their counters, before it is in force. */
  follow({ routes }: Table): void {
    const after = new Map<string, RouteCounters>();
    const endpoints = new Map<string, EndpointCounters>();
    // Who has counters keeps them: moving a route to the shared ones and back would make both jump.
    for (const { name } of routes) {
      const kept = this.#routes.get(name);
      if (kept) after.set(name, kept);
    }
    for (const route of routes) {
      let counters = after.get(route.name);
      if (!counters && after.size < metricRoutesMax)
        after.set(route.name, (counters = new RouteCounters(route.host, route.name)));
      route.counters = counters ?? this.otherRoutes;
      for (const { endpoint } of route.pool?.members ?? []) {
        const known = endpoint.counters;
        if (known && known !== this.otherEndpoints) endpoints.set(endpoint.name, known);
      }
    }
    for (const { pool } of routes)
      for (const { endpoint } of pool?.members ?? []) this.#followEndpoint(endpoint, endpoints);
    this.#hosts = new Set(routes.map(({ host }) => host));
    this.#retire(after, this.#hosts);
    this.#routes = after;
    this.#endpoints = endpoints;
  }

  #followEndpoint(endpoint: Endpoint, all: Map<string, EndpointCounters>): void {
    if (all.has(endpoint.name)) return;
    if (all.size >= metricEndpointsMax) {
      endpoint.counters = this.otherEndpoints;
      return;
    }
    all.set(endpoint.name, (endpoint.counters = new EndpointCounters(endpoint.name)));
  }

  #retire(after: ReadonlyMap<string, RouteCounters>, hosts: ReadonlySet<string>): void {
    for (const [name, counters] of this.#routes) {
      if (after.has(name)) continue;
      this.formerByHost.set(counters.host, (this.formerByHost.get(counters.host) ?? 0) + counters.requests);
      this.formerRoutes.absorb(counters);
    }
    for (const host of this.formerByHost.keys()) if (!hosts.has(host)) this.formerByHost.delete(host);
  }

  /** All that count routes and what belongs to none, those of routes that are gone too. */
  *everyRoute(): Iterable<RouteCounters> {
    yield* this.#routes.values();
    yield* [this.unrouted, this.files, this.otherRoutes, this.formerRoutes];
  }

  *everyEndpoint(): Iterable<EndpointCounters> {
    yield* this.#endpoints.values();
    yield this.otherEndpoints;
  }

  /** Adds what another process has counted on a route. */
  addRoute(host: string, route: string, figures: RouteFigures): void {
    for (const shared of [this.unrouted, this.files, this.otherRoutes, this.formerRoutes])
      if (shared.route === route) return shared.add(figures);
    const counters = this.#routes.get(route);
    if (counters) return counters.add(figures);
    // It is gone here, or has none of its own here.
    this.formerRoutes.add(figures);
    if (this.#hosts.has(host)) this.formerByHost.set(host, (this.formerByHost.get(host) ?? 0) + requestsOf(figures));
  }

  /** Adds what another process has counted on an endpoint. One that is gone has no series any more. */
  addEndpoint(name: string, figures: EndpointFigures): void {
    if (name === this.otherEndpoints.endpoint) this.otherEndpoints.add(figures);
    else this.#endpoints.get(name)?.add(figures);
  }

  /** Counts an exchange that is over. @param unrouted where one without a route is counted */
  ended(exchange: Exchange, { status, bytesOut, failure }: Ending, unrouted = this.unrouted): void {
    const nowMs = performance.now();
    exchange.endedMs = nowMs;
    const counters = exchange.route?.counters ?? unrouted;
    counters.count(exchange.method, status);
    counters.carried(exchange.bytesIn, bytesOut);
    // A WebSocket that was open for a day says nothing about how quick we are.
    if (status !== 101) counters.duration.observe(nowMs - exchange.startedMs);
    this.versions[versionSlot(exchange.version)]!++;
    if (exchange.tries > 0) tried(exchange, counters, failure);
    if (!notRefusing.has(exchange.deniedBy)) counters.denied(exchange.deniedBy);
  }

  /**
   * The head of an upstream's answer, and what came with it, was written.
   * @param answeredMs when it was read, by performance.now()
   */
  replied(exchange: Exchange, answeredMs: number): void {
    const { sentMs, startedMs, endedMs } = exchange;
    if (sentMs === 0 || exchange.tries !== 1 || exchange.body) return;
    // An answer that came whole is over already, and its end was read from the clock.
    const writtenMs = endedMs === 0 ? performance.now() : endedMs;
    this.overhead.observe(sentMs - startedMs + (writtenMs - answeredMs));
  }
}

function requestsOf({ rows }: RouteFigures): number {
  return rows.reduce((sum, row) => sum + (row ? row.reduce((all, count) => all + count, 0) : 0), 0);
}

function tried(exchange: Exchange, counters: RouteCounters, failure: Failure | undefined): void {
  const { upstreamMs, tries } = exchange;
  const endpoint = exchange.member!.endpoint.counters;
  if (upstreamMs !== undefined) endpoint?.answered(upstreamMs);
  if (failure) endpoint?.failed(failure);
  if (tries > 1) counters.retried(tries - 1);
}
