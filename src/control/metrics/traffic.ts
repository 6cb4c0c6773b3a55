/** What the data plane has counted: by route, by upstream address, and of clients that never made a request. */
import type { Metrics } from "../../data/observe/metrics.ts";
import type { Plane } from "../../data/plane.ts";
import type { RouteCounters } from "../../data/observe/route-counters.ts";
import type { Health } from "../../data/upstream/endpoint.ts";
import { counter, gauge, histogram, type Family, type Labels } from "./family.ts";

/** The series of a plane's routes, made one by one as they are asked for. Only what was asked for has any: a thousand silent routes say nothing. */
export function* routeFamilies(metrics: Metrics): Iterable<Family> {
  const { routes, otherRoutes, unrouted, files, overhead } = metrics;
  const busy = [...routes, otherRoutes, unrouted, files].filter((counters) => counters.requests > 0);
  const each = <T>(value: (counters: RouteCounters) => T) =>
    busy.map((counters) => [labelsOf(counters), value(counters)] as const);
  yield counter("aralez_route_requests_total", "Requests by host, route, method and status", busy.flatMap(requestsOf));
  yield histogram(
    "aralez_route_duration_seconds",
    "Time from a request's head to the end of its answer, WebSockets and tunnels aside",
    each(({ duration }) => duration),
  );
  yield histogram(
    "aralez_proxy_overhead_seconds",
    "Time spent in the proxy itself, until a request was sent and since its answer came, of requests without a body that the first member answered",
    [[{}, overhead]],
  );
  yield counter(
    "aralez_route_request_bytes_total",
    "Bytes of request bodies",
    each(({ requestBytes }) => requestBytes),
  );
  yield counter(
    "aralez_route_response_bytes_total",
    "Bytes of answers' bodies",
    each(({ answerBytes }) => answerBytes),
  );
  yield counter(
    "aralez_route_retries_total",
    "Further members tried after one has failed",
    each(({ retries }) => retries),
  );
  yield counter(
    "aralez_route_rejections_total",
    "Requests that a guard or check has refused",
    busy.flatMap(rejectionsOf),
  );
}

function labelsOf({ host, route }: RouteCounters): { host: string; route: string } {
  return { host, route };
}

function requestsOf(counters: RouteCounters): [Labels, number][] {
  const series: [Labels, number][] = [];
  counters.each((method, code, count) => series.push([{ ...labelsOf(counters), method, code }, count]));
  return series;
}

function rejectionsOf(counters: RouteCounters): [Labels, number][] {
  return [...counters.refusals].map(([reason, count]) => [{ ...labelsOf(counters), reason }, count]);
}

/** Clients that were turned away before there was a request. */
export function refusalFamilies({ refusals }: Plane): Family[] {
  const series: [Labels, number][] = [];
  refusals.each((reason, count) => series.push([{ reason }, count]));
  return [counter("aralez_client_refusals_total", "Connections and malformed requests turned away, by reason", series)];
}

/** @param nowMs by performance.now() */
export function* endpointFamilies({ metrics, table }: Plane, nowMs: number): Iterable<Family> {
  const all = [...metrics.endpoints, metrics.otherEndpoints].filter(
    (counters) => counters !== metrics.otherEndpoints || counters.requests > 0,
  );
  const failures = all.flatMap(({ endpoint, failures }) =>
    [...failures].map(([reason, count]) => [{ endpoint, reason }, count] as const),
  );
  const { up, states } = standing(table, nowMs);
  yield counter(
    "aralez_endpoint_requests_total",
    "Requests sent to an upstream address, failed ones and retries too",
    all.map(({ endpoint, requests }) => [{ endpoint }, requests] as const),
  );
  yield counter(
    "aralez_endpoint_failures_total",
    "Requests that an upstream address did not answer, or not whole",
    failures,
  );
  yield histogram(
    "aralez_endpoint_latency_seconds",
    "Time until the head of an upstream's answer",
    all.filter(({ requests }) => requests > 0).map(({ endpoint, latency }) => [{ endpoint }, latency] as const),
  );
  yield gauge(
    "aralez_endpoint_up",
    "1 = requests are sent there, 0 = for some route it is held for down, or put aside",
    all.flatMap(({ endpoint }) => (up.has(endpoint) ? [[{ endpoint }, up.get(endpoint)!] as const] : [])),
  );
  yield gauge(
    "aralez_members",
    "Members of all routes by state",
    Object.entries(states).map(([state, count]) => [{ state }, count] as const),
  );
}

function standing({ routes }: Plane["table"], nowMs: number) {
  const up = new Map<string, number>();
  const states = { up: 0, unknown: 0, aside: 0, down: 0 };
  for (const { pool } of routes) {
    for (const { endpoint, health } of pool?.members ?? []) {
      const state = stateOf(health, nowMs);
      states[state]++;
      const usable = state === "up" || state === "unknown" ? 1 : 0;
      up.set(endpoint.name, Math.min(up.get(endpoint.name) ?? 1, usable));
    }
  }
  return { up, states };
}

/** Aside: not for now, until a request has tried it. */
function stateOf(health: Health, nowMs: number): "up" | "unknown" | "aside" | "down" {
  if (health.state === "down") return "down";
  return health.asideUntilMs > nowMs ? "aside" : health.state;
}
