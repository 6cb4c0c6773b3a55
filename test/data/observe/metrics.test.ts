/** Counting: slots, buckets, and counters that outlive tables. */
import { describe, expect, test } from "bun:test";
import { Histogram } from "../../../src/data/observe/histogram.ts";
import { Metrics } from "../../../src/data/observe/metrics.ts";
import { RouteCounters } from "../../../src/data/observe/route-counters.ts";
import { methodLabels, methodSlot, statusLabels, statusSlot } from "../../../src/data/observe/slots.ts";
import type { Route, Table } from "../../../src/data/routing/table.ts";
import { Endpoint } from "../../../src/data/upstream/endpoint.ts";
import { metricEndpointsMax, metricRoutesMax } from "../../../src/lib/limits.ts";

describe("labels are bounded [B23]", () => {
  test("a method that nobody knows is OTHER", () => {
    expect(methodLabels[methodSlot("GET")]).toBe("GET");
    expect(methodLabels[methodSlot("PATCH")]).toBe("PATCH");
    for (const odd of ["BREW", "get", "__proto__", "constructor", ""])
      expect(methodLabels[methodSlot(odd)]).toBe("OTHER");
  });
  test("a status that nobody registered counts for its class", () => {
    const label = (status: number) => statusLabels[statusSlot(status)]!;
    expect([200, 404, 499, 508].map(label)).toEqual(["200", "404", "499", "508"]);
    expect([199, 299, 399, 498, 599].map(label)).toEqual(["1xx", "2xx", "3xx", "4xx", "5xx"]);
    expect([0, 99, 600, 999, -1, Number.NaN].map(label)).toEqual(Array(6).fill("other"));
  });
});

test("a bucket holds its upper bound", () => {
  const histogram = new Histogram([0.001, 0.01]);
  for (const ms of [0, 1, 1.001, 10, 11]) histogram.observe(ms);
  expect([...histogram.counts]).toEqual([2, 2, 1]);
  expect(histogram.sumMs).toBeCloseTo(23.001);
  expect(histogram.total).toBe(5);
});

describe("when tables change", () => {
  const counted = (route: Route, method = "GET", status = 200) => route.counters!.count(method, status);

  test("a route that stays keeps its counters, one that comes back begins anew", () => {
    const metrics = new Metrics();
    const first = tableOf(["a.test/", "b.test/"]);
    metrics.follow(first);
    counted(first.routes[0]!);
    counted(first.routes[1]!);
    const second = tableOf(["a.test/"]);
    metrics.follow(second);
    expect(second.routes[0]!.counters).toBe(first.routes[0]!.counters);
    const third = tableOf(["a.test/", "b.test/"]);
    metrics.follow(third);
    expect(third.routes[1]!.counters!.requests).toBe(0);
    expect(total(metrics)).toBe(2);
  });

  test("no total ever goes back, not even for what was under way on a route that is gone", () => {
    const metrics = new Metrics();
    const first = tableOf(["a.test/", "a.test/old"]);
    metrics.follow(first);
    counted(first.routes[1]!);
    first.routes[1]!.counters!.denied("deny");
    metrics.follow(tableOf(["a.test/"]));
    expect(total(metrics)).toBe(1);
    counted(first.routes[1]!, "DELETE", 204);
    first.routes[1]!.counters!.carried(5, 7);
    first.routes[1]!.counters!.duration.observe(1);
    expect(total(metrics)).toBe(2);
    expect(metrics.formerRoutes.answerBytes).toBe(7);
    expect(metrics.formerRoutes.duration.total).toBe(1);
    expect(metrics.formerByHost).toEqual(new Map([["a.test", 1]]));
    metrics.follow(tableOf(["b.test/"]));
    expect(metrics.formerByHost.size).toBe(0);
    expect(total(metrics)).toBe(2);
  });

  test("routes beyond the bound share one, and who has counters keeps them", () => {
    const metrics = new Metrics();
    const names = Array.from({ length: metricRoutesMax + 5 }, (_, i) => `h${i}.test/`);
    const first = tableOf(names);
    metrics.follow(first);
    expect([...metrics.routes]).toHaveLength(metricRoutesMax);
    expect(first.routes.at(-1)!.counters).toBe(metrics.otherRoutes);
    const second = tableOf(["new.test/", ...names]);
    metrics.follow(second);
    expect(second.routes[0]!.counters).toBe(metrics.otherRoutes);
    expect(second.routes[1]!.counters).toBe(first.routes[0]!.counters);
  });

  test("so do upstream addresses", () => {
    const metrics = new Metrics();
    const endpoints = Array.from(
      { length: metricEndpointsMax + 1 },
      (_, i) => new Endpoint({ host: "10.0.0.1", port: i + 1 }),
    );
    metrics.follow(tableOf(["a.test/"], endpoints));
    metrics.follow(tableOf(["a.test/"], endpoints.toReversed()));
    expect([...metrics.endpoints]).toHaveLength(metricEndpointsMax);
    expect(endpoints[0]!.counters!.endpoint).toBe("10.0.0.1:1");
    expect(endpoints.at(-1)!.counters).toBe(metrics.otherEndpoints);
  });
});

function tableOf(names: string[], endpoints: Endpoint[] = []): Table {
  const pool = { members: endpoints.map((endpoint) => ({ endpoint })) };
  const routes = names.map((name) => ({ name, host: name.slice(0, name.indexOf("/")), pool }) as unknown as Route);
  return { routes } as unknown as Table;
}

function total({ routes, formerRoutes, otherRoutes, unrouted }: Metrics): number {
  return [...routes, formerRoutes, otherRoutes, unrouted].reduce(
    (sum, counters: RouteCounters) => sum + counters.requests,
    0,
  );
}
