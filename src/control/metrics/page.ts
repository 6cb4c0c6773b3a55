/** The metrics page: everything that a scrape gets, rendered by prom-client in the text format of Prometheus. */
import type { CertificateSet } from "../../data/tls/certificate-set.ts";
import { metricValuesPerTurn } from "../../lib/limits.ts";
import type { SourceState } from "../discovery/standing.ts";
import type { Fleet } from "../fleet.ts";
import { gauge, type Family, type Labels } from "./family.ts";
import { originals } from "./originals.ts";
import { processFamilies, processFigures } from "./process-figures.ts";
import type { ReloadCounts } from "./reload-counts.ts";
import { endpointFamilies, refusalFamilies, routeFamilies } from "./traffic.ts";
import { workerFamilies } from "./workers.ts";

/** Which program this is. */
export interface Build {
  readonly version: string;
  readonly commit: string;
}

/** Where the figures come from; asked at each scrape. */
export interface MetricSources {
  readonly fleet: Fleet;
  readonly reloads: ReloadCounts;
  readonly build: Build;
  /** of the TLS port; undefined without one */
  certificates(): CertificateSet | undefined;
  /** of this process */
  logLinesLost(): number;
  /** Consul and Kubernetes, where the rules select them */
  providers(): readonly SourceState[];
}

/** `text/plain` of this version; prom-client's own word for it. */
export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

let rendering: { readonly sources: MetricSources; readonly page: Promise<string> } | undefined;

/** Scrapes that come while one is rendered share it: ten of them cost as much as one. */
export function renderMetrics(sources: MetricSources): Promise<string> {
  if (rendering?.sources === sources) return rendering.page;
  const page = render(sources).finally(() => {
    if (rendering?.page === page) rendering = undefined;
  });
  rendering = { sources, page };
  return page;
}

async function render(sources: MetricSources): Promise<string> {
  // It is wanted here alone, and a program that is never scraped need not load it.
  const { Registry } = await import("prom-client");
  await sources.fleet.collect();
  let text = "";
  for (const family of familiesOf(sources)) text += await renderFamily(family, Registry);
  return text;
}

type RegistryClass = (typeof import("prom-client"))["Registry"];

/** Families are made and rendered bit by bit, with a turn of the loop in between: requests must not wait for a scrape. */
async function renderFamily({ values, ...about }: Family, Registry: RegistryClass): Promise<string> {
  let text = "";
  for (let from = 0; from === 0 || from < values.length; from += metricValuesPerTurn) {
    const some = { ...about, values: values.slice(from, from + metricValuesPerTurn) };
    const registry = new Registry();
    // What a registry wants of a metric is its name and what `get` gives; its type asks for prom-client's own classes.
    registry.registerMetric({ ...some, get: () => some } as never);
    const lines = await registry.getSingleMetricAsString(about.name);
    text += from === 0 ? `${lines}\n` : `${withoutHead(lines)}\n`;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return text;
}

/** Without HELP and TYPE, which stand before the first values only. */
function withoutHead(lines: string): string {
  return lines.slice(lines.indexOf("\n", lines.indexOf("\n") + 1) + 1);
}

/** Everything a scrape gets, made as it is asked for: each family is read at one moment. */
function* familiesOf(sources: MetricSources): Iterable<Family> {
  const { fleet, reloads, build } = sources;
  const { plane, usage } = fleet;
  const figures = processFigures(usage);
  yield* originals(plane.metrics, {
    ...figures,
    inFlight: fleet.open,
    logLinesLost: sources.logLinesLost() + usage.logLinesLost,
  });
  yield* routeFamilies(plane.metrics);
  yield* refusalFamilies(plane);
  yield* endpointFamilies(plane, performance.now());
  yield* certificateFamilies(sources.certificates());
  yield* reloads.families();
  yield* providerFamilies(sources.providers());
  yield gauge(
    "aralez_listener_requests_in_flight",
    "Requests, WebSockets and tunnels under way by listener",
    fleet.listeners.map(({ name, open }) => [{ listener: name }, open] as const),
  );
  yield gauge("aralez_build_info", "1; the labels say which program this is", [
    [{ version: build.version, commit: build.commit, bun: Bun.version }, 1],
  ]);
  yield* processFamilies(figures);
  yield* workerFamilies(fleet.workers);
}

function providerFamilies(states: readonly SourceState[]): Family[] {
  const of = (figure: (state: SourceState) => number) =>
    states.map((state) => [{ provider: state.name }, figure(state)] as const);
  return [
    gauge(
      "aralez_provider_up",
      "1 = the source of routes answers, 0 = what it said last stays in force",
      of(({ up }) => (up ? 1 : 0)),
    ),
    gauge(
      "aralez_provider_age_seconds",
      "Since the source of routes last answered; +Inf = never",
      of(({ ageSeconds }) => ageSeconds ?? Number.POSITIVE_INFINITY),
    ),
    gauge(
      "aralez_provider_routes",
      "Routes in force that the source has brought",
      of(({ routes }) => routes),
    ),
  ];
}

function certificateFamilies(set: CertificateSet | undefined): Family[] {
  const ends = new Map<string, readonly [Labels, number]>();
  for (const { name, notAfterMs, state } of set?.pairs ?? [])
    if (state !== "placeholder") ends.set(name, [{ certificate: name }, notAfterMs / 1000]);
  return [
    gauge(
      "aralez_certificate_expiry_timestamp_seconds",
      "When a certificate of the TLS port ends, in seconds since 1970",
      ends.values(),
    ),
  ];
}
