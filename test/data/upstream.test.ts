import { describe, expect, test } from "bun:test";
import { Endpoint, Health } from "../../src/data/upstream/endpoint.ts";
import { LocalTurn } from "../../src/data/upstream/turn.ts";
import { Pool, type Member } from "../../src/data/upstream/pool.ts";
import { stickyId, stickyKey, stickyLine, stickyMember } from "../../src/data/upstream/sticky.ts";
import { RetryBudget } from "../../src/data/forward/retry-budget.ts";

const ejection = { maxFails: 3, failMs: 1000 };

function member(port: number, weight = 1, sticky = ""): Member {
  const endpoint = new Endpoint({ host: "127.0.0.1", port });
  return {
    endpoint,
    health: new Health(endpoint, undefined, ejection),
    healthKey: String(port),
    weight,
    protocol: "http",
    stickyId: sticky,
  };
}

function picks(pool: Pool, n: number, nowMs = 0): number[] {
  return Array.from({ length: n }, () => (pool.pick(nowMs, [])!.endpoint.address as { port: number }).port);
}

describe("round robin", () => {
  test("is even over the members", () => {
    expect(picks(new Pool([member(1), member(2), member(3)], new LocalTurn()), 6)).toEqual([1, 2, 3, 1, 2, 3]);
  });
  test("follows weights, interleaved", () => {
    const order = picks(new Pool([member(1, 4), member(2, 2), member(3, 2)], new LocalTurn()), 8);
    expect(order.filter((port) => port === 1)).toHaveLength(4);
    expect(order.filter((port) => port === 2)).toHaveLength(2);
    expect(order.join("")).not.toContain("111");
  });
  test("leaves out members that are down, and says so when none is left", () => {
    const [a, b] = [member(1), member(2)];
    const pool = new Pool([a, b], new LocalTurn());
    a.health.state = "down";
    expect(picks(pool, 3)).toEqual([2, 2, 2]);
    b.health.state = "down";
    expect(pool.pick(0, [])).toBeUndefined();
    expect(pool.allDown).toBe(true);
  });
  test("goes on where it was after a reload, by its turn counter", () => {
    const turn = new LocalTurn();
    picks(new Pool([member(1), member(2), member(3)], turn), 2);
    expect(picks(new Pool([member(1), member(2), member(3)], turn), 1)).toEqual([3]);
  });
});

describe("passive ejection", () => {
  test("puts a member aside after max_fails within fail_timeout, then one request tries it", () => {
    const { health } = member(1);
    expect(health.failed(0, "refused")).toBe(false);
    expect(health.failed(10, "refused")).toBe(false);
    expect(health.failed(20, "refused")).toBe(true);
    expect(health.ready(500)).toBe(false);
    expect(health.ready(1020)).toBe(true);
    health.beginTrial(1020);
    expect(health.ready(1021)).toBe(false);
    health.succeeded();
    expect(health.ready(1022)).toBe(true);
  });
  test("a failed trial puts it aside again at once", () => {
    const { health } = member(1);
    for (let i = 0; i < 3; i++) health.failed(i, "refused");
    health.beginTrial(1100);
    expect(health.failed(1100, "refused")).toBe(true);
    expect(health.ready(2000)).toBe(false);
    expect(health.ready(2100)).toBe(true);
  });
  test("a trial whose client left frees the place for the next", () => {
    const { health } = member(1);
    for (let i = 0; i < 3; i++) health.failed(i, "refused");
    health.beginTrial(1100);
    health.undecided();
    expect(health.ready(1101)).toBe(true);
  });
  test("old failures are forgotten", () => {
    const { health } = member(1);
    health.failed(0, "x");
    health.failed(1, "x");
    expect(health.failed(1500, "x")).toBe(false);
  });
  test("never takes the last usable member", () => {
    const [a, b] = [member(1), member(2)];
    const pool = new Pool([a, b], new LocalTurn());
    b.health.state = "down";
    for (let i = 0; i < 3; i++) a.health.failed(i, "refused");
    expect(pool.pick(10, [])).toBe(a);
  });
  test("max_fails 0 switches it off", () => {
    const endpoint = new Endpoint({ host: "127.0.0.1", port: 1 });
    const health = new Health(endpoint, undefined, { maxFails: 0, failMs: 1000 });
    for (let i = 0; i < 100; i++) expect(health.failed(i, "x")).toBe(false);
    expect(health.ready(100)).toBe(true);
  });
});

describe("the sticky cookie", () => {
  const key = stickyKey("a master key");
  const on = (path: string, ...ports: number[]) =>
    new Pool(
      ports.map((port) => member(port, 1, stickyId(key, "a.test", path, `127.0.0.1:${port}`))),
      new LocalTurn(),
    );
  const value = (line: readonly [string, string]) => line[1].split(";")[0]!;

  test("has the original's attributes, and Secure only on TLS", () => {
    const pool = on("/", 1, 2);
    expect(stickyLine(pool, pool.members[0]!, undefined, 600, false)[1]).toMatch(
      /^backend_id=[0-9a-f]{32}; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/,
    );
    expect(stickyLine(pool, pool.members[0]!, undefined, 600, true)[1]).toEndWith("; Secure");
  });
  test("finds its member again, also under another key order of the rules", () => {
    const line = stickyLine(on("/", 1, 2), on("/", 1, 2).members[1]!, undefined, 600, false);
    expect(stickyMember(on("/", 2, 1), value(line))!.endpoint.name).toBe("127.0.0.1:2");
  });
  test("means nothing on another path or under another key", () => {
    const line = stickyLine(on("/", 1), on("/", 1).members[0]!, undefined, 600, false);
    expect(stickyMember(on("/secret", 1), value(line))).toBeUndefined();
    expect(stickyId(stickyKey("other"), "a.test", "/", "127.0.0.1:1")).not.toBe(
      stickyId(key, "a.test", "/", "127.0.0.1:1"),
    );
  });
  test("keeps the ids of other routes of the host, bounded, and sends nothing back that it did not make", () => {
    const root = on("/", 1, 2);
    const api = on("/api", 1, 2);
    const first = value(stickyLine(root, root.members[0]!, undefined, 600, false));
    const both = value(stickyLine(api, api.members[1]!, first, 600, false));
    expect(stickyMember(root, both)).toBe(root.members[0]);
    expect(stickyMember(api, both)).toBe(api.members[1]);
    expect(value(stickyLine(api, api.members[0]!, `backend_id=<script>.${"x".repeat(32)}`, 600, false))).toMatch(
      /^backend_id=[0-9a-f]{32}$/,
    );
    let cookie: string | undefined;
    for (let i = 0; i < 20; i++) {
      const pool = on(`/p${i}`, 1);
      cookie = value(stickyLine(pool, pool.members[0]!, cookie, 600, false));
    }
    expect(cookie!.split(".")).toHaveLength(8);
  });
  test("another cookie whose name ends alike is not taken for it", () => {
    const pool = on("/", 1);
    const id = pool.members[0]!.stickyId;
    expect(stickyMember(pool, `xbackend_id=${id}`)).toBeUndefined();
    expect(stickyMember(pool, `a=1; backend_id=${id}; b=2`)).toBe(pool.members[0]);
  });
});

describe("the retry budget", () => {
  test("always allows ten a second, more only as a share of recent requests", () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 10; i++) expect(budget.take(1000, 20)).toBe(true);
    expect(budget.take(1000, 20)).toBe(false);
    for (let i = 0; i < 100; i++) budget.countRequest(1500);
    let taken = 0;
    while (budget.take(1600, 20)) taken++;
    expect(taken).toBe(10);
    expect(budget.take(1600, 0)).toBe(true);
  });
  test("forgets after ten seconds", () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 1000; i++) budget.countRequest(1000);
    for (let i = 0; i < 200; i++) budget.take(1000, 20);
    for (let i = 0; i < 10; i++) expect(budget.take(13_000, 20)).toBe(true);
    expect(budget.take(13_000, 20)).toBe(false);
  });
});
