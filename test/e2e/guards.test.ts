/** The shapes of every generation route as documented, and what is protected stays closed (contract points 1–3; A1). */
import { describe, expect, test } from "bun:test";
import { echo, startOrigin } from "../support/origins.ts";
import { overTls, startProxy, until, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

async function ask(proxy: TestProxy, target: string, host: string, port = proxy.port) {
  const answer = await raw(port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  return { status: answer.status, origin: answer.fields.find(([name]) => name === "x-origin")?.[1], answer };
}

const secret = "910517d9-f9a1-48de-8826-dbadacbd84af-cb6f830e-ab16-47ec-9d8f-0090de732774";

/** The two shapes that the original's manual has always shown, with live servers in place of its addresses. */
const shapes: Record<string, (at: Record<string, string>, authorization: boolean) => string> = {
  "with hosts at the top level": (at, authorization) => `
provider: "file"
sticky_sessions: false
to_https: false
rate_limit: 10
headers:
  - "Access-Control-Allow-Origin:*"
${authorization ? `authorization:\n  type: "jwt"\n  creds: "${secret}"\n` : ""}
myhost.mydomain.com:
  paths:
    "/":
      rate_limit: 20
      headers: ["X-Proxy-From:Aralez"]
      servers: ["${at.a}", "${at.b}"]
    "/foo":
      to_https: true
      servers: ["${at.c}"]
    "/.well-known/acme-challenge":
      healthcheck: false
      servers: ["${at.d}"]
`,
  "with hosts under upstreams": (at, authorization) => `
provider: "file"
sticky_sessions: 8600
to_https: false
rate_limit: 10
x4xx_limit: 5
client_headers:
  - "Access-Control-Allow-Origin:*"
server_headers:
  - "X-Forwarded-By:Aralez"
${authorization ? `authorization:\n  type: "jwt"\n  data: "${secret}"\n` : ""}
upstreams:
  myhost.mydomain.com:
    paths:
      "/":
        rate_limit: 20
        client_headers: ["X-Proxy-From:Aralez"]
        servers: ["${at.a}", "${at.b}"]
      "/foo":
        to_https: true
        servers: ["${at.c}"]
      "/.well-known/acme-challenge":
        healthcheck: false
        servers: ["${at.d}"]
  DEFAULT:
    paths:
      "/":
        redirect_to: "https://www.example.test"
`,
};

describe("the configuration of the original's manual [3]", () => {
  for (const [name, shape] of Object.entries(shapes)) {
    test(`${name} routes as documented, without its authorization`, async () => {
      await using a = await startOrigin(echo("a"));
      await using b = await startOrigin(echo("b"));
      await using c = await startOrigin(echo("c"));
      await using d = await startOrigin(echo("d"));
      await using proxy = await startProxy(shape({ a: a.address, b: b.address, c: c.address, d: d.address }, false));
      const host = "myhost.mydomain.com";
      const origins = [await ask(proxy, "/", host), await ask(proxy, "/", host)];
      expect(origins.map(({ origin }) => origin).sort()).toEqual(["a", "b"]);
      const { fields } = origins[0]!.answer;
      expect(fields).toContainEqual(["access-control-allow-origin", "*"]);
      expect(fields).toContainEqual(["x-proxy-from", "Aralez"]);
      expect((await ask(proxy, "/foo/x?q=1", host, proxy.plainPort)).answer.fields).toContainEqual([
        "location",
        `https://myhost.mydomain.com${overTls ? `:${proxy.tlsPort}` : ""}/foo/x?q=1`,
      ]);
      expect((await ask(proxy, "/.well-known/acme-challenge/token", host)).origin).toBe("d");
      expect((await ask(proxy, "/", "other.test")).status).toBe(name.includes("top level") ? 404 : 301);
      // A burst may fall into two windows, but not each of them.
      await until(async () => {
        const burst = await Promise.all(Array.from({ length: 25 }, () => ask(proxy, "/", host)));
        return burst.some(({ status }) => status === 429);
      }, "the path's own rate_limit of 20");
    });
    test(`${name} is refused everywhere with its authorization`, async () => {
      await using a = await startOrigin(echo("a"));
      const at = { a: a.address, b: a.address, c: a.address, d: a.address };
      await using proxy = await startProxy(shape(at, true));
      for (const target of ["/", "/.well-known/acme-challenge/x", "/x/../", "//"]) {
        const { status, answer } = await ask(proxy, target, "myhost.mydomain.com");
        expect(status).toBe(401);
        expect(answer.body).not.toContain(secret);
      }
      expect(a.requests).toHaveLength(0);
      expect(proxy.log()).not.toContain(secret);
      await proxy.logged(/401 GET .*jwt: no token/);
    });
  }
});

test("a host that asks for client certificates answers none over plain HTTP", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(
    `
upstreams:
  a.test:
    client_ca: ${import.meta.dir}/../../certs/dev.crt
    paths:
      "/": { servers: ["${up.address}"] }
      "/open": { servers: ["${up.address}"], authorization: { type: none }, allow: [], deny: [] }
      "/moved": { redirect_to: "https://b.test" }
`,
    { listener_engine: "socket" },
  );
  for (const target of ["/", "/open", "/moved"]) expect((await ask(proxy, target, "a.test")).status).toBe(403);
  expect(up.requests).toHaveLength(0);
});

test("a route to the proxy's own admin address is switched off with a warning that names it, the rest loads [A1]", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(
    `
upstreams:
  DEFAULT: { paths: { "/": { servers: ["127.0.0.1:3999"] } } }
  a.test: { paths: { "/": { servers: ["${up.address}"] } } }
`,
    { config_address: { hostname: "0.0.0.0", port: 3999 } },
  );
  expect((await ask(proxy, "/conf", "unknown.test")).status).toBe(404);
  expect((await ask(proxy, "/", "a.test")).status).toBe(200);
  await proxy.logged(/route DEFAULT\/ is switched off: its server 127.0.0.1:3999 is this proxy's own admin address/);
});
