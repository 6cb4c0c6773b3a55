/** The original's metrics by its names (contract, section 10), so that its dashboards go on: sums of what is counted by route. */
import { durationBounds, Histogram } from "../../data/observe/histogram.ts";
import type { Metrics } from "../../data/observe/metrics.ts";
import type { RouteCounters } from "../../data/observe/route-counters.ts";
import { versionLabels } from "../../data/observe/slots.ts";
import { counter, gauge, histogram, type Family } from "./family.ts";
import type { ProcessFigures } from "./process-figures.ts";

const bounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2, 5];

/** What only the process knows. */
export interface OriginalGauges extends ProcessFigures {
  /** exchanges that have not ended */
  readonly inFlight: number;
  /** lines of the log that were lost */
  readonly logLinesLost: number;
}

export function originals(metrics: Metrics, now: OriginalGauges): Family[] {
  const byMethod = new Map<string, number>();
  const byStatus = new Map<string, number>();
  const byHost = new Map(metrics.formerByHost);
  const latency = new Histogram(durationBounds);
  let total = 0;
  let errors = 0;
  for (const counters of everything(metrics)) {
    latency.add(counters.duration);
    counters.each((method, status, count) => {
      total += count;
      if (/^[45]/.test(status)) errors += count;
      add(byMethod, method, count);
      add(byStatus, status, count);
      if (counters !== metrics.formerRoutes) add(byHost, counters.host, count);
    });
  }
  return [
    counter("aralez_requests_total", "Requests answered", total),
    counter("aralez_errors_total", "Requests answered with a status from 400 up", errors),
    counter("aralez_responses_total", "Answers by status", labelled("status", byStatus)),
    histogram(
      "aralez_response_latency_seconds",
      "Time from a request's head to the end of its answer",
      [[{}, latency]],
      bounds,
    ),
    histogram(
      "aralez_request_latency_seconds",
      "The same as aralez_response_latency_seconds, by its name up to 0.84",
      [[{}, latency]],
      bounds,
    ),
    counter("aralez_requests_by_method_total", "Requests by method", labelled("method", byMethod)),
    counter("aralez_requests_by_upstream", "Requests by virtual host, as configured", labelled("upstream", byHost)),
    counter(
      "aralez_requests_by_version_total",
      "Requests by version of HTTP",
      versionLabels.map((version, i) => [{ version }, metrics.versions[i]!] as const),
    ),
    gauge("aralez_active_sessions", "Requests, WebSockets and tunnels under way", now.inFlight),
    gauge("aralez_open_files", "Files and sockets that are open", now.openFiles),
    gauge("aralez_memory_bytes", "Resident memory", now.residentBytes),
    gauge("aralez_logging_errors", "Lines of the log that were lost", now.logLinesLost),
    // Dashboards of 0.92.15 and later ask for these; there is no cache here, so nothing is in it.
    gauge("aralez_cache_size_bytes", "Size of the response cache, of which there is none", 0),
    gauge("aralez_cache_items", "Answers in the response cache, of which there is none", 0),
    counter("aralez_cache_evicted_bytes_total", "Bytes evicted from the response cache, of which there is none", 0),
    counter("aralez_cache_evicted_items_total", "Answers evicted from the response cache, of which there is none", 0),
  ];
}

function everything({ routes, otherRoutes, unrouted, files, formerRoutes }: Metrics): RouteCounters[] {
  return [...routes, otherRoutes, unrouted, files, formerRoutes];
}

function add(to: Map<string, number>, key: string, count: number): void {
  to.set(key, (to.get(key) ?? 0) + count);
}

function labelled<K extends string>(label: K, counts: ReadonlyMap<string, number>) {
  return [...counts].map(([value, count]) => [{ [label]: value } as Record<K, string>, count] as const);
}
