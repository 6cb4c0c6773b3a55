/** `explain` on a running proxy: it says what a real request meets, and leaves no trace. */
import { describe, expect, test } from "bun:test";
import { readQuestion } from "../../src/data/explain/question.ts";
import { showExplanation } from "../../src/data/explain/show.ts";
import { startOrigin } from "../support/origins.ts";
import { overTls, startPatientProxy, until, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const scheme = overTls ? "https" : "http";
const ask = (
  { running }: TestProxy,
  path: string,
  lines: string[] = [],
  host = "a.test",
  method = "GET",
  client?: string,
) => running.explain(readQuestion(method, `${scheme}://${host}${path}`, lines, client));
const get = (proxy: TestProxy, path: string, fields = "") =>
  raw(proxy.port, `GET ${path} HTTP/1.1\r\nHost: a.test\r\n${fields}Connection: close\r\n\r\n`);

describe("the chain", () => {
  test("names host, path, guards in their order, and what goes upstream with secrets masked", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`upstreams:
  "*.a.test":
    paths:
      "/": { servers: ["${up.address}"] }
      "/api":
        servers: ["${up.address}"]
        strip_prefix: true
        rate_limit: 5
        deny: [192.0.2.0/24]
        authorization: { type: basic, users: { ann: geheim } }
        server_headers: ["X-From: shop", "X-Secret-Token: geheim"]
        client_headers: ["X-Frame-Options: DENY", "-Server"]
`);
    const basic = `Authorization: Basic ${btoa("ann:geheim")}`;
    const good = await ask(proxy, "/x/../%61pi/y?z=1", [basic], "www.a.test");
    expect(good.chain.map(({ step, outcome }) => `${step} ${outcome}`)).toEqual([
      "host passes",
      "path passes",
      "deny passes",
      "rate_limit passes",
      "authorization passes",
    ]);
    expect(good.chain[0]!.says).toBe("www.a.test → *.a.test");
    expect(good.chain[1]!.says).toBe("/x/../%61pi/y?z=1, read as /api/y → /api");
    expect(good.chain[4]!.says).toBe("as ann");
    expect(good.upstream!.fields).toContain("X-From: shop");
    expect(good.upstream!.fields).toContain("X-Secret-Token: ***");
    expect(good.answerHead).toEqual({ without: ["x-frame-options", "server"], with: ["X-Frame-Options: DENY"] });
    expect(good.members).toMatchObject([{ server: up.address, turn: 1 }]);
    expect(JSON.stringify(good)).not.toContain("geheim");
    expect(showExplanation(good)).toContain(`→ forwarded to ${up.address}`);

    const stranger = await ask(proxy, "/api/y", [], "www.a.test");
    expect(stranger.answer).toMatchObject({ status: 401, why: "basic: no credentials" });
    expect(stranger.members).toHaveLength(1);
    const denied = await ask(proxy, "/api/y", [basic], "www.a.test", "GET", "192.0.2.7");
    expect(denied.answer!.status).toBe(403);
    expect(denied.chain.slice(-2).map(({ outcome }) => outcome)).toEqual(["unreached", "unreached"]);
  });

  test("says why there is no route, and what is wrong with a request", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/a": { servers: ["${up.address}"] }, "/a/b": { servers: ["${up.address}"] } } } }`,
    );
    expect((await ask(proxy, "/", [], "b.test")).chain).toEqual([
      { step: "host", outcome: "answers", says: "b.test: no route for this host, and there is no DEFAULT" },
    ]);
    const nowhere = await ask(proxy, "/ab");
    expect(nowhere.answer!.status).toBe(404);
    expect(nowhere.chain.at(-1)!.says).toBe("/ab: no route for this path; this host has /a, /a/b");
    expect((await ask(proxy, "/a%2fb")).chain).toMatchObject([{ step: "request", outcome: "answers" }]);
    expect((await ask(proxy, "/a", [], "a_%.test")).answer!.status).toBe(400);
  });

  test("shows redirects and bodies that are too large", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], max_body: 10 }, "/old": { redirect_to: "https://new.test" } } } }`,
    );
    const redirect = await ask(proxy, "/old/x?y");
    expect(redirect.answer).toMatchObject({ status: 301 });
    expect(redirect.answer!.fields).toContain("Location: https://new.test/old/x?y");
    expect((await ask(proxy, "/", ["Content-Length: 11"], "a.test", "POST")).answer!.status).toBe(413);
  });
});

describe("nothing is left behind", () => {
  test("by limits: a thousand questions, and the one request that is allowed still passes", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], rate_limit: 1, x4xx_limit: 1, max_concurrent: 1 } } } }`,
    );
    for (let i = 0; i < 1000; i++) expect((await ask(proxy, "/")).answer).toBeUndefined();
    expect((await get(proxy, "/")).status).toBe(200);
    const after = await ask(proxy, "/");
    // A busy machine may have let the second pass.
    const note = after.chain.find(({ step }) => step === "rate_limit")!.says;
    expect(note).toMatch(/[01] of 1 requests of this client in its second$/);
    expect(await readMetric(proxy, "aralez_requests_total")).toBe(1);
  });

  test("by forward authorization: the service is not asked", async () => {
    await using up = await startOrigin();
    await using service = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], authorization: { type: forward, data: "http://${service.address}/verify" } } } } }`,
    );
    const { chain, answer } = await ask(proxy, "/");
    expect(chain.at(-1)).toMatchObject({ step: "authorization", outcome: "open" });
    expect(chain.at(-1)!.says).toContain(`GET /verify would be asked of ${service.address}`);
    expect(answer).toBeUndefined();
    expect(service.connections + service.requests.length).toBe(0);
  });

  test("by the order of members: a question takes nobody's turn", async () => {
    await using one = await startOrigin();
    await using two = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${one.address}", "${two.address}"], retries: 1, healthcheck: false } } } }`,
    );
    for (let i = 0; i < 4; i++) {
      const { members } = await ask(proxy, "/");
      const first = members!.find(({ turn }) => turn === 1)!.server;
      expect(members!.map(({ turn }) => turn).sort()).toEqual([1, 2]);
      expect((await ask(proxy, "/")).members!.find(({ turn }) => turn === 1)!.server).toBe(first);
      const [a, b] = [one.requests.length, two.requests.length];
      await get(proxy, "/");
      expect([one.requests.length - a, two.requests.length - b]).toEqual(first === one.address ? [1, 0] : [0, 1]);
    }
  });
});

test("members that are down say why, and a 503 is what a request would get", async () => {
  const gone = await startOrigin();
  await gone.close();
  await using proxy = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${gone.address}"] } } } }`,
  );
  const down = await until(async () => {
    const found = await ask(proxy, "/");
    return found.answer ? found : undefined;
  });
  expect(down.answer!.status).toBe(503);
  expect(down.members).toMatchObject([{ server: gone.address, state: "down" }]);
  expect(down.members![0]!.why).not.toBe("");
  expect(down.members![0]!.turn).toBeUndefined();
  expect((await get(proxy, "/")).status).toBe(503);
});

test("a sticky cookie decides who is first", async () => {
  await using one = await startOrigin();
  await using two = await startOrigin();
  await using proxy = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${one.address}", "${two.address}"], sticky_sessions: 60, healthcheck: false } } } }`,
  );
  const { fields } = await get(proxy, "/");
  const cookie = fields.find(([name]) => name === "set-cookie")![1].split(";")[0]!;
  const { members } = await ask(proxy, "/", [`Cookie: ${cookie}`]);
  expect(members!.find(({ turn }) => turn === 1)).toMatchObject({ server: one.address, sticky: true });
});

async function readMetric({ running }: TestProxy, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await running.metrics())?.[1]);
}
