/** Who may ask the admin API for what: the whole table, on real sockets. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startProxy, type TestProxy } from "../../support/proxy.ts";
import { raw } from "../../support/raw.ts";
import { send, type Sent } from "../../support/send.ts";
import { adminOf, masterKey, strangerAt } from "./ask.ts";

const rules = `upstreams: { a.test: { paths: { "/": { redirect_to: "https://b.test" } } } }\n`;
const oddKey = "käse+brot, 100 %";

let proxy: TestProxy;
let keyless: TestProxy;
let odd: TestProxy;
beforeAll(async () => {
  [proxy, keyless, odd] = await Promise.all([
    startProxy(rules, { master_key: masterKey }),
    startProxy(rules),
    startProxy(rules, { master_key: oddKey, admin_read: "key" }),
  ]);
});
afterAll(async () => {
  for (const each of [proxy, keyless, odd]) await each?.[Symbol.asyncDispose]();
});

const get = (to: TestProxy, target: string, sent: Sent = {}) =>
  send(to.adminPort, target, { host: "127.0.0.1", ...sent });

describe("the master key opens everything [23]", () => {
  test.each([
    ["Bearer", "/conf/history", [["Authorization", `Bearer ${masterKey}`]]],
    ["Bearer in lower case", "/conf/history", [["authorization", `bearer   ${masterKey}`]]],
    ["x-api-key", "/conf/history", [["X-API-Key", masterKey]]],
    ["?key=", `/conf/history?key=${masterKey}`, []],
    ["?key= behind others", `/conf/history?a=b&key=${masterKey}&c`, []],
    ["?key= percent-encoded", `/conf/history?key=%30${masterKey.slice(1)}`, []],
    [
      "a good x-api-key beside a wrong Bearer",
      "/conf/history",
      [
        ["Authorization", "Bearer no"],
        ["X-Api-Key", masterKey],
      ],
    ],
  ] as [string, string, [string, string][]][])("by %s", async (_name, target, fields) => {
    expect((await get(proxy, target, { fields })).status).toBe(200);
  });

  test.each([
    ["no key", "/conf/history", []],
    ["an empty Bearer", "/conf/history", [["Authorization", "Bearer "]]],
    ["a wrong one", "/conf/history", [["Authorization", `Bearer ${masterKey}x`]]],
    ["one that is too short", "/conf/history", [["Authorization", `Bearer ${masterKey.slice(1)}`]]],
    ["another scheme", "/conf/history", [["Authorization", `Basic ${masterKey}`]]],
    ["the key without a scheme", "/conf/history", [["Authorization", masterKey]]],
    [
      "two Authorization fields",
      "/conf/history",
      [
        ["Authorization", "Bearer a"],
        ["Authorization", `Bearer ${masterKey}`],
      ],
    ],
    ["an empty x-api-key", "/conf/history", [["X-Api-Key", ""]]],
    [
      "two x-api-keys",
      "/conf/history",
      [
        ["X-Api-Key", masterKey],
        ["X-Api-Key", masterKey],
      ],
    ],
    ["an empty ?key=", "/conf/history?key=", []],
    ["?key= twice, the second one good", `/conf/history?key=a&key=${masterKey}`, []],
    ["?KEY=", `/conf/history?KEY=${masterKey}`, []],
    ["a very long one", "/conf/history", [["X-Api-Key", "x".repeat(20_000)]]],
    ["another letter case", "/conf/history", [["X-Api-Key", masterKey.toUpperCase()]]],
    ["a cookie", "/conf/history", [["Cookie", `key=${masterKey}`]]],
  ] as [string, string, [string, string][]][])("403 for %s", async (_name, target, fields) => {
    const { status, body } = await get(proxy, target, { fields });
    expect({ status, body }).toEqual({
      status: 403,
      body: "403 Forbidden: this needs the master key: Authorization: Bearer KEY, x-api-key: KEY, or ?key=KEY\n",
    });
  });

  test("a key of any characters, as UTF-8 in a field or encoded in the query", async () => {
    const field = Buffer.from(oddKey).toString("latin1");
    const request = `GET /conf/history HTTP/1.1\r\nHost: x\r\nX-Api-Key: ${field}\r\nConnection: close\r\n\r\n`;
    expect((await raw(odd.adminPort, Buffer.from(request, "latin1"))).status).toBe(200);
    expect((await get(odd, `/conf/history?key=${encodeURIComponent(oddKey)}`)).status).toBe(200);
    // A plus is a blank to some writers of links, and a plus to others.
    const plus = encodeURIComponent(oddKey).replaceAll("%20", "+");
    expect((await get(odd, `/conf/history?key=${plus}`)).status).toBe(200);
    expect((await get(odd, `/conf/history?key=${encodeURIComponent(oddKey).replace("%2B", "+")}`)).status).toBe(200);
  });

  test("everything else is closed to strangers, whether it exists or not", async () => {
    for (const [method, target] of [
      ["POST", "/conf"],
      ["POST", "/conf?save"],
      ["POST", "/conf/rollback"],
      ["GET", "/conf/history"],
      ["POST", "/reload"],
      ["GET", "/nothing"],
      ["GET", "/"],
      ["DELETE", "/conf"],
      ["GET", "//status/../conf/history"],
      ["POST", "/CONF"],
    ])
      expect([method, target, (await strangerAt(proxy)(method!, target!)).status]).toEqual([method, target, 403]);
  });

  test("404 for a path that does not exist and 405 with Allow for a method, once the key is right", async () => {
    const admin = adminOf(proxy);
    expect(await admin("GET", "/nothing")).toMatchObject({ status: 404 });
    const wrong = await admin("GET", "/conf");
    expect([wrong.status, wrong.field("allow")]).toEqual([405, "POST"]);
    const post = await admin("POST", "/status");
    expect([post.status, post.field("allow")]).toEqual([405, "GET, HEAD"]);
  });

  test("each use is one line of the log, and the key is in none", async () => {
    await get(proxy, `/conf/rollback?key=${masterKey}`, { method: "POST" });
    const line = await proxy.logged(/admin - 404 POST \/conf\/rollback\?key=\*\*\*/);
    expect(line).toContain("client: 127.0.0.1, key by ?key=, id: ");
    await get(proxy, "/conf?key=guessed", { method: "POST" });
    expect(await proxy.logged(/admin - 403 POST \/conf\?key=\*\*\*/)).toContain("without key");
    // Reading has one as well, and what a request is explained for stays out of it.
    await adminOf(proxy)("GET", "/conf/history");
    await proxy.logged(/admin - 200 GET \/conf\/history, client: 127\.0\.0\.1, key by Bearer, id: \S+: answered/);
    const asked = encodeURIComponent("http://a.test/?session=guessed");
    await adminOf(proxy)("GET", `/explain?url=${asked}&header=X-Session:guessed`);
    await proxy.logged(/admin - 200 GET \/explain, client: /);
    expect(proxy.log()).not.toContain(masterKey);
    expect(proxy.log()).not.toContain("guessed");
  });

  test("without master_key everything that needs it answers 403, and says so", async () => {
    for (const [method, target] of [
      ["POST", "/conf"],
      ["GET", "/conf/history?key="],
      ["POST", "/reload"],
    ]) {
      const { status, body } = await strangerAt(keyless)(method!, target!, { fields: [["Authorization", "Bearer "]] });
      expect([status, body]).toEqual([
        403,
        "403 Forbidden: this needs the master key, and main.yaml sets no `master_key`\n",
      ]);
    }
    expect((await get(keyless, "/status")).status).toBe(200);
  });
});

describe("/health and /ready are open, /metrics and /status as admin_read says", () => {
  test("/health and /ready need no key, whatever the Host and the method's case", async () => {
    for (const target of ["/health", "/ready", "/health?x"]) {
      expect((await get(odd, target, { host: "anything.test" })).status).toBe(200);
      expect(await send(odd.adminPort, target, { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
    }
    expect((await get(odd, "/health", { method: "POST" })).status).toBe(405);
  });

  test("loopback, the default: programs on this machine read, which ask for themselves", async () => {
    for (const target of ["/status", "/status?live", "/status?all", "/metrics"]) {
      expect((await get(proxy, target)).status).toBe(200);
      expect((await get(proxy, target, { host: `localhost:${proxy.adminPort}` })).status).toBe(200);
      // Typed into a browser's address bar.
      expect((await get(proxy, target, { fields: [["Sec-Fetch-Site", "none"]] })).status).toBe(200);
    }
  });

  test.each([
    ["a page in a browser here that has a name of its own (DNS rebinding)", "evil.test", []],
    ["another proxy here, for its clients (X-Forwarded-For)", "127.0.0.1", [["X-Forwarded-For", "192.0.2.1"]]],
    ["another proxy here (Forwarded)", "127.0.0.1", [["Forwarded", "for=192.0.2.1"]]],
    ["another proxy here (Via)", "127.0.0.1", [["Via", "1.1 other"]]],
    ["another proxy here (X-Forwarded-Host)", "127.0.0.1", [["X-Forwarded-Host", "public.test"]]],
    ["a page from elsewhere in a browser here (Origin)", "127.0.0.1", [["Origin", "https://evil.test"]]],
    ["a page without an origin (Origin: null)", "127.0.0.1", [["Origin", "null"]]],
    ["a page from elsewhere in a browser here (Sec-Fetch-Site)", "127.0.0.1", [["Sec-Fetch-Site", "cross-site"]]],
  ] as [string, string, [string, string][]][])("loopback does not mean %s", async (_name, host, fields) => {
    const { status, body } = await get(proxy, "/status", { host, fields });
    expect(status).toBe(403);
    expect(body).toContain("`admin_read: loopback` in main.yaml lets only programs on this machine read without it");
    const key = [...fields, ["X-Api-Key", masterKey]] as [string, string][];
    expect((await get(proxy, "/status", { host, fields: key })).status).toBe(200);
  });

  test("key: nobody reads without it, and the 403 names the setting", async () => {
    const { status, body } = await get(odd, "/metrics");
    expect([status, body]).toEqual([
      403,
      "403 Forbidden: this needs the master key here (`admin_read: key` in main.yaml lets nobody read without it): " +
        "Authorization: Bearer KEY, x-api-key: KEY, or ?key=KEY\n",
    ]);
  });

  test("open: everybody reads, and still nobody writes", async () => {
    await using open = await startProxy(rules, { master_key: masterKey, admin_read: "open" });
    expect((await get(open, "/status", { host: "far.test", fields: [["X-Forwarded-For", "192.0.2.1"]] })).status).toBe(
      200,
    );
    expect((await strangerAt(open)("POST", "/conf")).status).toBe(403);
  });

  test("/metrics is what Prometheus reads", async () => {
    const answer = await get(proxy, "/metrics");
    expect(answer.field("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(answer.body).toMatch(/^aralez_active_sessions \d+$/m);
  });
});
