/** `GET /status`: the original's two shapes with dead servers in them, and our fuller one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { deadPort, startOrigin, type Origin } from "../../support/origins.ts";
import { startProxy, until, type TestProxy } from "../../support/proxy.ts";
import { send } from "../../support/send.ts";
import { strangerAt } from "./ask.ts";

let origin: Origin;
let dead: number;
let proxy: TestProxy;
beforeAll(async () => {
  origin = await startOrigin();
  dead = await deadPort();
  proxy = await startProxy(`
authorization: { type: basic, data: "ann:hush-hush" }
rate_limit: 500
upstreams:
  a.test:
    x4xx_limit: 7
    paths:
      "/": { servers: ["127.0.0.1:${origin.port}", "127.0.0.1:${dead}"], authorization: { type: none } }
      "/tls/": { servers: ["https://127.0.0.1:${dead}", "unix:/nonexistent/x.sock"], healthcheck: false, to_https: true, rate_limit: 3 }
  b.test: { paths: { "/": { redirect_to: "https://c.test" } } }
`);
  await until(async () => {
    const members = (await status()).routes[0].members as { state: string }[];
    return members.every(({ state }) => state === "up" || state === "down");
  });
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await origin?.close();
});

async function status(query = ""): Promise<any> {
  const answer = await strangerAt(proxy)("GET", `/status${query}`);
  expect([answer.status, answer.field("content-type")]).toEqual([200, "application/json"]);
  return JSON.parse(answer.body);
}

describe("GET /status [24]", () => {
  test("?live has every server, the dead ones with alive: false", async () => {
    expect(await status("?live")).toEqual({
      "a.test": {
        "/": {
          backends: [
            { address: "127.0.0.1", port: origin.port, alive: true },
            { address: "127.0.0.1", port: dead, alive: false },
          ],
        },
        "/tls/": {
          backends: [
            { address: "127.0.0.1", port: dead, alive: true },
            { address: "unix:/nonexistent/x.sock", port: 0, alive: true },
          ],
        },
      },
      "b.test": { "/": { backends: [] } },
    });
    expect(await status("?live=true")).toEqual(await status("?live"));
  });

  test("?all says how each is set, and counts requests, also over a reload", async () => {
    const before = (await status("?all"))["a.test"]["/"].requests;
    for (let i = 0; i < 3; i++) expect((await send(proxy.plainPort, "/")).status).toBe(200);
    await proxy.running.reload();
    const all = await until(async () => {
      const now = await status("?all");
      return now["a.test"]["/"].requests === before + 3 && now;
    });
    const common = {
      to_https: false,
      rate_limit: 500,
      x4xx_limit: 7,
      healthcheck: true,
      is_ssl: false,
      is_http2: false,
    };
    expect(all["a.test"]["/"].backends).toEqual([
      { address: "127.0.0.1", port: origin.port, ...common },
      { address: "127.0.0.1", port: dead, ...common },
    ]);
    expect(all["a.test"]["/tls/"]).toMatchObject({
      backends: [
        { port: dead, is_ssl: true, is_http2: false, to_https: true, rate_limit: 3, x4xx_limit: 7, healthcheck: false },
        { port: 0, is_ssl: false },
      ],
      requests: 0,
    });
  });

  test("without either: the process, the rules, the routes and why a server is out", async () => {
    const full = await status();
    expect(full).toMatchObject({
      bun: Bun.version,
      pid: process.pid,
      ready: true,
      rules: {
        version: expect.stringMatching(/^[0-9a-f]{12}$/),
        origin: "files",
        routes: 3,
        members: 4,
        members_out: 1,
      },
      last_load: { ok: true, errors: 0 },
    });
    expect(full.listeners.map(({ name }: { name: string }) => name)).toContain("admin");
    expect(full.routes[0]).toMatchObject({ route: "a.test/", kind: "servers", guards: ["rate_limit", "x4xx_limit"] });
    expect(full.routes[0].members).toMatchObject([
      { server: `127.0.0.1:${origin.port}`, state: "up", alive: true, protocol: "http", weight: 1 },
      { server: `127.0.0.1:${dead}`, state: "down", alive: false, cause: "connection refused" },
    ]);
    expect(full.routes[1].members[0]).toMatchObject({ state: "unchecked", protocol: "https" });
    expect(full.routes[2]).toMatchObject({ route: "b.test/", kind: "redirect" });
    expect(full.routes[2].members).toBeUndefined();
  });

  test("shows a load that was refused, and no secret anywhere", async () => {
    const good = await Bun.file(`${proxy.folder}/upstreams.yaml`).text();
    proxy.write(`${good}nonsense: 1\n`);
    await proxy.running.reload();
    const { last_load, rules } = await status();
    expect(last_load).toMatchObject({ ok: false, errors: 1, first_error: expect.stringContaining("nonsense") });
    expect(rules.routes).toBe(3);
    proxy.write(good);
    await proxy.running.reload();
    expect((await status()).last_load.ok).toBe(true);
    for (const query of ["", "?live", "?all"])
      expect((await strangerAt(proxy)("GET", `/status${query}`)).body).not.toContain("hush-hush");
  });

  test("thousands of routes come whole", async () => {
    const hosts = Array.from(
      { length: 2_000 },
      (_, i) => `  h${i}.test: { paths: { "/": { servers: ["127.0.0.1:${origin.port}"], healthcheck: false } } }\n`,
    );
    await using large = await startProxy(`upstreams:\n${hosts.join("")}`);
    const asked = async (query: string) => JSON.parse((await strangerAt(large)("GET", `/status${query}`)).body);
    expect(Object.keys(await asked("?live"))).toHaveLength(2_000);
    expect((await asked("")).routes).toHaveLength(2_000);
  });
});
