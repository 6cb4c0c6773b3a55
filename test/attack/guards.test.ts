/** No spelling of a request reaches an upstream past the guards of its route. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { echo, startOrigin, type Origin } from "../support/origins.ts";
import { startProxy, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

let open: Origin, secret: Origin, proxy: TestProxy;
beforeAll(async () => {
  open = await startOrigin(echo("open"));
  secret = await startOrigin(echo("secret"));
  const guarded = `servers: ["${secret.address}"], authorization: {type: basic, data: "user:long enough"}`;
  proxy = await startProxy(`
upstreams:
  a.test:
    paths:
      "/": { servers: ["${open.address}"] }
      "/admin": { ${guarded} }
      "/pub": { servers: ["${open.address}"], strip_prefix: true }
  secret.test:
    paths: { "/": { ${guarded} } }
`);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await open[Symbol.asyncDispose]();
  await secret[Symbol.asyncDispose]();
});

/** @returns the status, after checking that nothing protected was reached, nor an open upstream asked for it */
async function refused(bytes: string): Promise<number> {
  secret.requests.length = open.requests.length = 0;
  const answer = await raw(proxy.port, Buffer.from(bytes, "latin1"), 5_000);
  expect(secret.requests).toEqual([]);
  expect(open.requests.map((seen) => seen.target)).toEqual([]);
  return answer.status;
}

const request = (target: string, host = "a.test", more = "Connection: close\r\n", version = "1.1") =>
  `GET ${target} HTTP/${version}\r\nHost: ${host}\r\n${more}\r\n`;

const targets = [
  "/admin",
  "/%61dmin",
  "//admin",
  "/./admin",
  "/x/../admin",
  "/x/%2e%2e/admin",
  "/x/.%2e/admin",
  "/x\\..\\admin",
  "/\\admin",
  "/x%5c..%5cadmin",
  "/x/..%2fadmin",
  "/x%2f..%2fadmin",
  "/pub/../admin",
  "/pub/%2e%2e/admin",
  "/pub/..%2fadmin",
  "/pub%2f..%2fadmin",
  "/admin%2f",
  "/admin%00",
  "/admin%0a",
  "/admin#x",
  "/ad\tmin",
  "/admin?x",
  "http://a.test/admin",
  "http:/admin",
  "http:admin",
  "admin",
  "*",
];
for (const target of targets) {
  test(`${JSON.stringify(target)} is answered by the proxy, not by an upstream`, async () => {
    expect([400, 401, 505]).toContain(await refused(request(target)));
  });
}

const hosts = [
  "secret.test",
  "SECRET.test.",
  "secret.test:80",
  "secret.test:",
  " secret.test ",
  "a.test, secret.test",
  "secret.test:99999",
  "secret%2etest",
  "a.test@secret.test",
  "a.test\tsecret.test",
];
for (const host of hosts) {
  test(`Host ${JSON.stringify(host)} does not open a guarded host`, async () => {
    expect([400, 401]).toContain(await refused(request("/", host)));
  });
}

test("two Host lines are refused", async () => {
  expect(await refused("GET / HTTP/1.1\r\nHost: a.test\r\nHost: secret.test\r\nConnection: close\r\n\r\n")).toBe(400);
});
test("HTTP/1.0 has the same guards", async () => {
  expect(await refused(request("/admin", "a.test", "", "1.0"))).toBe(401);
});
test("a WebSocket upgrade and an h2c upgrade have the same guards", async () => {
  const socket = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  expect(await refused(request("/admin", "a.test", `Connection: Upgrade\r\nUpgrade: websocket\r\n${socket}`))).toBe(
    401,
  );
  const h2c = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
  expect(await refused(request("/admin", "a.test", h2c))).toBe(401);
});
