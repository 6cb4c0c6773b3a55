/** Tallies: what is told is growth, each bit of it once, whatever happens to the routes it was counted on. */
import { expect, test } from "bun:test";
import { nowhere } from "../../../src/control/offline-plane.ts";
import { Failure } from "../../../src/data/failure.ts";
import type { RouteCounters } from "../../../src/data/observe/route-counters.ts";
import { addTally, Tallies } from "../../../src/data/observe/tally.ts";
import { Plane } from "../../../src/data/plane.ts";
import type { Route, Table } from "../../../src/data/routing/table.ts";
import { Pool } from "../../../src/data/upstream/pool.ts";
import { AddressSet } from "../../../src/lib/address.ts";

function makePlane(): Plane {
  return new Plane({
    forwarder: nowhere,
    tunnels: nowhere,
    trustedProxies: new AddressSet([]),
    loopMark: "x",
    retryAfterSeconds: 1,
    log() {},
    ended() {},
  });
}

/** As the publisher does. @param names host and path */
function follow(plane: Plane, ...names: [host: string, path: string][]): Table {
  const routes = names.map(([host, path]): Route => {
    const endpoint = plane.ledger.endpoint({ host: "127.0.0.1", port: 80 });
    const health = plane.ledger.health("k", endpoint, undefined, { maxFails: 0, failMs: 0 });
    const member = { endpoint, health, healthKey: "k", weight: 1, protocol: "http", stickyId: "" } as const;
    const pool = new Pool([member], plane.ledger.turn(host + path));
    return { host, path, name: host + path, pool } as unknown as Route;
  });
  const table = { routes } as unknown as Table;
  plane.metrics.follow(table);
  plane.table = table;
  return table;
}

/** Counts one request as a plane does at its end. */
function count(route: Route, status = 200, ms = 5): void {
  const counters: RouteCounters = route.counters!;
  counters.count("GET", status);
  counters.carried(10, 20);
  counters.duration.observe(ms);
  if (status === 429) counters.denied("rate_limit");
  route.pool!.turn.requests++;
  route.pool!.members[0]!.endpoint.counters!.answered(ms);
}

const totalOf = ({ metrics }: Plane) => [...metrics.everyRoute()].reduce((sum, { requests }) => sum + requests, 0);

/** What crosses the boundary between processes is a copy. */
const sent = (tallies: Tallies) => structuredClone(tallies.take());

test("the growth of two planes adds up, and nothing is counted twice", () => {
  const [one, two, all] = [makePlane(), makePlane(), makePlane()];
  const [first] = follow(one, ["a.test", "/"]).routes;
  const [second] = follow(two, ["a.test", "/"]).routes;
  const [sum] = follow(all, ["a.test", "/"]).routes;
  const tallies = [new Tallies(one), new Tallies(two)];
  for (let i = 0; i < 3; i++) {
    count(first!);
    count(second!, 429, 80);
    one.refusals.count("host");
    one.metrics.versions[1]!++;
    one.metrics.overhead.observe(1);
    second!.pool!.members[0]!.endpoint.counters!.failed(new Failure("early_reset", "it went away"));
    for (const each of tallies) addTally(all, sent(each));
  }
  for (const each of tallies) addTally(all, sent(each));
  const counters = sum!.counters!;
  expect(counters.requests).toBe(6);
  expect([counters.requestBytes, counters.answerBytes, counters.duration.sumMs]).toEqual([60, 120, 255]);
  expect(counters.refusals).toEqual(new Map([["rate_limit", 3]]));
  expect(sum!.pool!.turn.requests).toBe(6);
  expect(all.refusals.of("host")).toBe(3);
  expect([all.metrics.versions[1], all.metrics.overhead.total]).toEqual([3, 3]);
  const [endpoint] = [...all.metrics.endpoints];
  expect([endpoint!.requests, endpoint!.latency.total]).toEqual([6, 6]);
  expect(endpoint!.failures).toEqual(new Map([["early_reset" as const, 3]]));
});

test("a route that goes leaves its counts to the totals, also those of requests that end later", () => {
  const [one, all] = [makePlane(), makePlane()];
  const tallies = new Tallies(one);
  const [kept, gone] = follow(one, ["a.test", "/"], ["a.test", "/old"]).routes;
  follow(all, ["a.test", "/"], ["a.test", "/old"]);
  count(kept!);
  count(gone!);
  addTally(all, sent(tallies));
  count(gone!);
  // The supervisor changes its table before the worker's last words about the old one arrive.
  follow(all, ["a.test", "/"]);
  addTally(all, sent(tallies));
  follow(one, ["a.test", "/"]);
  tallies.rebase();
  gone!.counters!.count("GET", 200);
  addTally(all, sent(tallies));
  addTally(all, sent(tallies));
  expect(totalOf(all)).toBe(4);
  expect(totalOf(all)).toBe(totalOf(one));
  expect(all.metrics.formerRoutes.requests).toBe(3);
  // By host as far as the route was still known by name.
  expect(all.metrics.formerByHost.get("a.test")).toBe(2);
});

test("what has no counters of its own there goes to the shared ones", () => {
  const [one, all] = [makePlane(), makePlane()];
  const [route] = follow(one, ["b.test", "/"]).routes;
  follow(all, ["a.test", "/"]);
  count(route!);
  one.metrics.unrouted.count("GET", 404);
  one.metrics.files.count("GET", 200);
  one.metrics.otherRoutes.count("GET", 200);
  addTally(all, sent(new Tallies(one)));
  const { unrouted, files, otherRoutes, formerRoutes, formerByHost } = all.metrics;
  expect([unrouted, files, otherRoutes, formerRoutes].map(({ requests }) => requests)).toEqual([1, 1, 1, 1]);
  expect(formerByHost.size).toBe(0);
});
