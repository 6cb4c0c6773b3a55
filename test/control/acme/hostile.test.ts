/** ACME with clocks that jump, folders that hold other things, and servers that mean no good. */
import { afterEach, describe, expect, setDefaultTimeout, setSystemTime, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AcmeClient } from "../../../src/control/acme/client.ts";
import { orderDueMs, readEntry, renewalInfoDueMs, writeRecord } from "../../../src/control/acme/record.ts";
import { replica, stateOf, stopReplicas } from "../../support/acme-replica.ts";
import { problem, startAcmeServer } from "../../support/acme-server.ts";
import { madeByUs, put, temporary } from "../../support/certificates.ts";
import { until } from "../../support/proxy.ts";
import { startAuthority } from "../../support/tls.ts";

setDefaultTimeout(60_000);

afterEach(async () => {
  setSystemTime();
  await stopReplicas();
});

const day = 24 * 3_600_000;

describe("a clock that was years ahead, and is right again", () => {
  test("does not keep a name waiting for years", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    server.instead = ({ what }) => (what === "newOrder" ? problem(500, "serverInternal", "broken") : undefined);
    setSystemTime(Date.now() + 1_000 * day);
    const ahead = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => stateOf(ahead.acme, "a.test")?.state === "failed");
    await ahead.acme.stop();
    setSystemTime();
    server.instead = () => undefined;
    const right = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => right.issued === 1);
    expect(stateOf(right.acme, "a.test")).toMatchObject({ state: "valid", failures: 0 });
  });

  test("nor does one that was some minutes ahead; a pause that is right is kept to", () => {
    using folder = temporary();
    const entry = readEntry(folder.path, "a.test");
    const nowMs = Date.now();
    const dueOf = (triedMs: number, nextTryMs: number) =>
      orderDueMs({ ...entry, record: { ...entry.record, failures: 1, triedMs, nextTryMs } }, undefined);
    expect(dueOf(nowMs - 1_000, nowMs + day)).toBe(nowMs + day);
    expect(dueOf(nowMs + 3_600_000, nowMs + day)).toBe(0);
    expect(dueOf(0, nowMs + 8 * day)).toBe(0);
  });

  test("nor the question what the server suggests", () => {
    using folder = temporary();
    mkdirSync(join(folder.path, "certificates"));
    put(join(folder.path, "certificates"), "a.test", madeByUs(["a.test"]));
    const entry = readEntry(folder.path, "a.test");
    const asked = (checkMs: number) =>
      renewalInfoDueMs({ ...entry, record: { ...entry.record, renewal: { id: entry.held!.id, checkMs } } });
    expect(asked(Date.now() + 3_600_000)).toBeGreaterThan(0);
    expect(asked(Date.now() + 1_000 * day)).toBe(0);
  });
});

describe("the state folder", () => {
  test("may hold other things among the tokens: they stay, and nothing waits for them", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const tokens = join(folder.path, "challenges");
    mkdirSync(join(tokens, "lost+found"), { recursive: true });
    writeFileSync(join(tokens, "README"), "mine");
    const left = join(tokens, "t".repeat(43));
    writeFileSync(left, "of a process that was killed");
    const { acme } = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => stateOf(acme, "a.test")?.state === "valid");
    expect(existsSync(left)).toBe(false);
    expect([existsSync(join(tokens, "lost+found")), readFileSync(join(tokens, "README"), "utf8")]).toEqual([
      true,
      "mine",
    ]);
    expect(existsSync(join(folder.path, "acme.lock"))).toBe(false);
  });

  test("a record that somebody has filled with nonsense counts as none", () => {
    using folder = temporary();
    const entry = readEntry(folder.path, "a.test");
    writeRecord(folder.path, entry);
    const file = join(folder.path, "orders", "a.test.json");
    for (const text of ["", "[]", "null", '{"nextTryMs":"1e99","failures":-7,"order":[],"renewal":7}', "{".repeat(9)]) {
      writeFileSync(file, text);
      expect(readEntry(folder.path, "a.test").record).toEqual(entry.record);
    }
  });
});

describe("a server that means no good", () => {
  test("is not asked before the time it has named, however often it says so", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const asked: number[] = [];
    server.instead = ({ what, path }) => {
      if (what !== "order") return undefined;
      asked.push(performance.now());
      return Response.json(
        { status: asked.length < 3 ? "pending" : "invalid" },
        { headers: { "Retry-After": "2", Location: `https://localhost${path}` } },
      );
    };
    const { acme } = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => stateOf(acme, "a.test")?.state === "failed", "the end of the order", 60);
    const gaps = asked.slice(1).map((at, i) => at - asked[i]!);
    expect(gaps.length).toBe(2);
    for (const gap of gaps) expect(gap).toBeGreaterThan(1_900);
  });

  test("redirects, garbage, compressed floods and endless answers are refused, and cost little", async () => {
    const authority = startAuthority("ACME");
    const { cert, key } = authority.sign("/CN=localhost", ["localhost"]);
    let strangers = 0;
    const bomb = Bun.gzipSync(Buffer.alloc(512 << 20), { level: 1 });
    using listener = Bun.serve({
      hostname: "localhost",
      port: 0,
      reusePort: false,
      tls: { cert, key },
      fetch({ url }) {
        const { pathname, origin } = new URL(url);
        if (pathname === "/stranger") strangers++;
        if (pathname === "/redirect")
          return new Response(null, { status: 302, headers: { Location: `${origin}/stranger` } });
        if (pathname === "/garbage") return new Response("<html>\u0000 no directory");
        if (pathname === "/plain")
          return Response.json({
            newNonce: "http://a.test/",
            newAccount: "http://a.test/",
            newOrder: "file:///etc/passwd",
          });
        if (pathname === "/bomb") return new Response(bomb, { headers: { "Content-Encoding": "gzip" } });
        return new Response(
          new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65_536).fill(32)) }),
        );
      },
    });
    const before = process.memoryUsage.rss();
    for (const [path, reason] of [
      ["redirect", /status 302/],
      ["garbage", /expected https URLs/],
      ["plain", /expected https URLs/],
      ["bomb", /longer than 262144 bytes|expected https URLs/],
      ["endless", /longer than 262144 bytes/],
    ] as const) {
      const client = new AcmeClient({
        url: `https://localhost:${listener.port}/${path}`,
        ca: authority.cert,
        signal: new AbortController().signal,
      });
      const error = await client.directory().catch((told: Error) => told);
      expect((error as Error).message).toMatch(reason);
    }
    expect(strangers).toBe(0);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20);
  });
});
