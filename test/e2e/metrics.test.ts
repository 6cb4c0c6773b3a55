/** What a scrape shows (contract, section 10 and point 25). */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { metricValuesPerTurn } from "../../src/lib/limits.ts";
import { madeByUs, put } from "../support/certificates.ts";
import { startOrigin, startRawOrigin } from "../support/origins.ts";
import { overTls, startPatientProxy, until, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";
import { readScrape, type Scrape } from "../support/scrape.ts";

const scrape = async ({ running }: TestProxy): Promise<Scrape> => readScrape(await running.metrics());
const get = (port: number, path: string, host = "a.test", method = "GET", fields = "") =>
  raw(port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}Connection: close\r\n\r\n`);

/** A client may read its answer before the exchange has been counted. */
const counted = (proxy: TestProxy, requests: number) =>
  until(async () => {
    const seen = await scrape(proxy);
    return seen.value("aralez_requests_total") === requests ? seen : undefined;
  }, `${requests} counted requests`);

const promtool = Bun.which("promtool");
const notInstalled = "promtool is not installed (Debian package prometheus): not checked";

const originalNames: Record<string, string> = {
  aralez_requests_total: "counter",
  aralez_errors_total: "counter",
  aralez_responses_total: "counter",
  aralez_response_latency_seconds: "histogram",
  aralez_request_latency_seconds: "histogram",
  aralez_requests_by_method_total: "counter",
  aralez_requests_by_upstream: "counter",
  aralez_requests_by_version_total: "counter",
  aralez_active_sessions: "gauge",
  aralez_open_files: "gauge",
  aralez_memory_bytes: "gauge",
  aralez_logging_errors: "gauge",
  aralez_cache_size_bytes: "gauge",
  aralez_cache_items: "gauge",
  aralez_cache_evicted_bytes_total: "counter",
  aralez_cache_evicted_items_total: "counter",
};

describe("the original's metrics [25]", () => {
  test("are all there, with its types, labels and buckets", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`,
    );
    await get(proxy.port, "/");
    await get(proxy.port, "/", "b.test");
    const seen = await counted(proxy, 2);
    expect(Object.fromEntries([...seen.types].filter(([name]) => name in originalNames))).toEqual(originalNames);
    expect(seen.value('aralez_responses_total{status="200"}')).toBe(1);
    expect(seen.value('aralez_responses_total{status="404"}')).toBe(1);
    expect(seen.value("aralez_errors_total")).toBe(1);
    expect(seen.value('aralez_requests_by_method_total{method="GET"}')).toBe(2);
    expect(seen.value('aralez_requests_by_upstream{upstream="a.test"}')).toBe(1);
    expect(seen.value('aralez_requests_by_version_total{version="HTTP/1.1"}')).toBe(2);
    expect(seen.value("aralez_active_sessions")).toBe(0);
    expect(seen.value("aralez_memory_bytes")).toBeGreaterThan(1e6);
    expect(seen.value("aralez_open_files")).toBeGreaterThan(3);
    const buckets = seen
      .like("aralez_response_latency_seconds_bucket")
      .map((series) => /le="([^"]+)"/.exec(series)![1]);
    expect(buckets).toEqual("0.001 0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 1 2 5 +Inf".split(" "));
    expect(seen.value("aralez_response_latency_seconds_count")).toBe(2);
    expect(seen.value('aralez_response_latency_seconds_bucket{le="+Inf"}')).toBe(2);
  });
});

describe("our own metrics", () => {
  test("tell requests by host, route, method and status, with bytes and time; what clients make up adds no label [B23]", async () => {
    await using up = await startOrigin((_, response) => void response.end("hello"));
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] }, "/no": { deny: [0.0.0.0/0], servers: ["${up.address}"] } } } }`,
    );
    await get(proxy.port, "/x");
    await get(proxy.port, "/x", "a.test", "PUT", "Content-Length: 0\r\n");
    for (const host of ["x1.test", "x2.test"]) await get(proxy.port, "/", host);
    await get(proxy.port, "/no");
    const seen = await counted(proxy, 5);
    const route = 'host="a.test",route="a.test/"';
    expect(seen.value(`aralez_route_requests_total{${route},method="GET",code="200"}`)).toBe(1);
    expect(seen.value(`aralez_route_requests_total{${route},method="PUT",code="200"}`)).toBe(1);
    expect(seen.value('aralez_route_requests_total{host="(none)",route="(none)",method="GET",code="404"}')).toBe(2);
    expect(seen.value(`aralez_route_response_bytes_total{${route}}`)).toBe(10);
    expect(seen.value(`aralez_route_duration_seconds_count{${route}}`)).toBe(2);
    expect(seen.value('aralez_route_rejections_total{host="a.test",route="a.test/no",reason="deny"}')).toBe(1);
    expect(seen.value('aralez_route_rejections_total{host="(none)",route="(none)",reason="request"}')).toBe(2);
    expect(seen.value("aralez_proxy_overhead_seconds_count")).toBeGreaterThanOrEqual(1);
    expect(seen.text).not.toContain("x1.test");
    const endpoint = `endpoint="${up.address}"`;
    expect(seen.value(`aralez_endpoint_requests_total{${endpoint}}`)).toBe(2);
    expect(seen.value(`aralez_endpoint_latency_seconds_count{${endpoint}}`)).toBe(2);
    expect(seen.value(`aralez_endpoint_up{${endpoint}}`)).toBe(1);
  });

  test("fold unknown methods into OTHER", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { deny: [0.0.0.0/0], servers: ["${up.address}"] } } } }`,
      { listener_engine: "socket" },
    );
    for (const method of ["BREW", "WHEN"]) await get(proxy.port, "/", "a.test", method);
    const seen = await counted(proxy, 2);
    expect(seen.value('aralez_requests_by_method_total{method="OTHER"}')).toBe(2);
    expect(seen.text).not.toContain("BREW");
  });

  test("show failures and retries by upstream address, and which are up", async () => {
    await using up = await startOrigin();
    const gone = await startOrigin();
    await gone.close();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${gone.address}", "${up.address}"], healthcheck: false, max_fails: 1, fail_timeout: 60 } } } }`,
    );
    await get(proxy.port, "/");
    const seen = await counted(proxy, 1);
    expect(seen.value('aralez_route_retries_total{host="a.test",route="a.test/"}')).toBe(1);
    expect(seen.value(`aralez_endpoint_failures_total{endpoint="${gone.address}",reason="connect_refused"}`)).toBe(1);
    expect(seen.value(`aralez_endpoint_requests_total{endpoint="${gone.address}"}`)).toBe(1);
    expect(seen.value(`aralez_endpoint_requests_total{endpoint="${up.address}"}`)).toBe(1);
    expect(seen.value(`aralez_endpoint_up{endpoint="${gone.address}"}`)).toBe(0);
    expect(seen.value('aralez_members{state="aside"}')).toBe(1);
  });

  test("count an answer that was cut as a failure of its address", async () => {
    await using up = await startRawOrigin(
      (socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello"),
    );
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false } } } }`,
    );
    await get(proxy.port, "/");
    const seen = await counted(proxy, 1);
    expect(seen.value(`aralez_endpoint_failures_total{endpoint="${up.address}",reason="body_cut"}`)).toBe(1);
    expect(seen.value(`aralez_endpoint_requests_total{endpoint="${up.address}"}`)).toBe(1);
  });

  test("count connections that were no requests, by reason", async () => {
    await using proxy = await startPatientProxy("upstreams: {}", { listener_engine: "socket" });
    await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    const seen = await scrape(proxy);
    expect(seen.value('aralez_client_refusals_total{reason="host"}')).toBe(1);
    expect(seen.value('aralez_client_refusals_total{reason="framing"}')).toBe(0);
  });

  test("show requests in flight", async () => {
    let answer = () => {};
    await using up = await startOrigin(
      (_, response) => new Promise((resolve) => (answer = () => resolve(void response.end()))),
    );
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`,
    );
    const asked = get(proxy.port, "/");
    const busy = await until(async () => {
      const seen = await scrape(proxy);
      return seen.value("aralez_active_sessions") === 1 ? seen : undefined;
    });
    expect(busy.value(`aralez_listener_requests_in_flight{listener="${overTls ? "https" : "http"}"}`)).toBe(1);
    answer();
    await asked;
    await counted(proxy, 1);
  });

  test("tell how reloads ended, when certificates end, and which program this is", async () => {
    await using proxy = await startPatientProxy("upstreams: {}");
    const before = await scrape(proxy);
    expect(before.value('aralez_config_reloads_total{result="applied"}')).toBe(1);
    expect(before.value("aralez_config_last_reload_successful")).toBe(1);
    expect(before.value("aralez_config_last_reload_success_timestamp_seconds")).toBeGreaterThan(
      Date.now() / 1000 - 600,
    );
    proxy.write("upstreams: { a.test: { pathes: {} } }");
    await proxy.running.reload();
    const after = await scrape(proxy);
    expect(after.value('aralez_config_reloads_total{result="refused"}')).toBeGreaterThanOrEqual(1);
    expect(after.value("aralez_config_last_reload_successful")).toBe(0);
    expect(after.like("aralez_build_info{")).toHaveLength(1);
    expect(after.value("process_start_time_seconds")).toBeGreaterThan(1.7e9);
    expect(after.value("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(after.types.get("aralez_certificate_expiry_timestamp_seconds")).toBe("gauge");
  });
});

test("certificates of the TLS port tell when they end", async () => {
  const folder = mkdtempSync(join(tmpdir(), "aralez-metrics-"));
  try {
    put(folder, "shop", madeByUs(["a.test"], 42));
    await using proxy = await startPatientProxy("upstreams: {}", {
      proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
      proxy_configs: folder,
    });
    const ends = (await scrape(proxy)).value('aralez_certificate_expiry_timestamp_seconds{certificate="shop"}')!;
    expect(Math.abs(ends - Date.now() / 1000 - 42 * 86_400)).toBeLessThan(2 * 86_400);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the README names all of our own metrics, and no others", async () => {
  const readme = await Bun.file(join(import.meta.dir, "../../README.md")).text();
  const table = /<!-- metrics -->(.*)<!-- \/metrics -->/s.exec(readme)![1]!;
  const named = [...table.matchAll(/`((?:aralez|process)_[a-z_]+)`/g)].map(([, name]) => name!);
  await using proxy = await startPatientProxy("upstreams: {}");
  const { types } = await scrape(proxy);
  expect(named.sort()).toEqual([...types.keys()].filter((name) => !(name in originalNames)).sort());
});

test("promtool finds nothing wrong with our own names", async () => {
  if (promtool === null) return void console.log(notInstalled);
  await using up = await startOrigin();
  await using proxy = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`,
  );
  await get(proxy.port, "/");
  const { text } = await counted(proxy, 1);
  const run = Bun.spawn([promtool, "check", "metrics"], { stdin: Buffer.from(text), stdout: "pipe", stderr: "pipe" });
  const said = (await run.stdout.text()) + (await run.stderr.text());
  const ours = said
    .split("\n")
    .filter((line) => line !== "" && !Object.keys(originalNames).some((name) => line.startsWith(name)));
  expect(ours).toEqual([]);
});

test("the Grafana dashboard asks for nothing that is not there, in queries that Prometheus reads", async () => {
  const dashboard = (await Bun.file(join(import.meta.dir, "../../config/grafana-dashboard.json")).json()) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  const queries = dashboard.panels.flatMap(({ targets }) => targets?.map(({ expr }) => expr) ?? []);
  expect(queries.length).toBeGreaterThan(20);
  await using proxy = await startPatientProxy("upstreams: {}");
  const { types } = await scrape(proxy);
  const asked = new Set(queries.flatMap((expr) => expr.match(/\b(?:aralez|process)_[a-z_]+/g) ?? []));
  const unknown = [...asked].filter((name) => !types.has(name.replace(/_bucket$/, "")));
  expect(unknown).toEqual([]);
  if (promtool === null) return void console.log(notInstalled);
  const rules = queries.map((expr, i) => ({ record: `x:${i}`, expr: expr.replaceAll("$__rate_interval", "5m") }));
  const run = Bun.spawn([promtool, "check", "rules", "/dev/stdin"], {
    stdin: Buffer.from(JSON.stringify({ groups: [{ name: "dashboard", rules }] })),
    stdout: "pipe",
    stderr: "pipe",
  });
  const said = (await run.stdout.text()) + (await run.stderr.text());
  expect(said).toContain(`SUCCESS: ${rules.length} rules found`);
});

test("thousands of values are rendered bit by bit, each name once, and scrapes at the same time share the work", async () => {
  const paths = Array.from(
    { length: 60 },
    (_, i) => `"/${i}": { deny: [0.0.0.0/0], servers: ["127.0.0.1:1"], healthcheck: false }`,
  );
  await using proxy = await startPatientProxy(`upstreams: { a.test: { paths: { ${paths.join(", ")} } } }`);
  for (let i = 0; i < paths.length; i++) await get(proxy.port, `/${i}`);
  await counted(proxy, paths.length);
  const [one, two] = await Promise.all([proxy.running.metrics(), proxy.running.metrics()]);
  expect(two).toBe(one);
  const seen = readScrape(one);
  expect(seen.like("aralez_route_duration_seconds_bucket")).toHaveLength(paths.length * 17);
  expect(seen.like("aralez_route_duration_seconds_bucket").length).toBeGreaterThan(metricValuesPerTurn);
  expect(one.match(/^# TYPE aralez_route_duration_seconds /gm)).toHaveLength(1);
  expect(one).not.toMatch(/\n\n/);
});
