/** Header fields both ways (contract points 15, 17; B11, B12) and the sticky cookie on the wire (point 9, A3, B14). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { echo, startOrigin, startRawOrigin, type Origin } from "../support/origins.ts";
import { overTls, startProxy, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

let origin: Origin;
let second: Origin;
let proxy: TestProxy;

beforeAll(async () => {
  origin = await startOrigin(async (request, response, self) => {
    response.setHeader("Set-Cookie", ["a=1; Path=/", "b=2"]);
    response.setHeader("Connection", "keep-alive, X-Hop");
    response.setHeader("X-Hop", "secret");
    response.setHeader("Keep-Alive", "timeout=5");
    response.setHeader("X-From", "upstream");
    response.setHeader("Access-Control-Allow-Origin", "upstream");
    response.setHeader("X-Gone", "1");
    await echo("one")(request, response, self);
  });
  second = await startOrigin(echo("two"));
  proxy = await startProxy(`
client_headers: ["Access-Control-Allow-Origin: *", "X-Global: g:1", "X-Level: top"]
server_headers: ["X-Up: top", "X-Time: 12:30:00"]
upstreams:
  a.test:
    client_headers: ["X-Level: host"]
    paths:
      "/": { servers: ["${origin.address}"] }
      "/own":
        client_headers: ["X-Level: path", "+X-From: added", "-X-Gone"]
        server_headers: ["X-Up: path", "-X-Secret", "+X-More: 2", "Host: inner.test"]
        servers: ["${origin.address}"]
  sticky.test:
    sticky_sessions: 8600
    paths:
      "/": { servers: ["${origin.address}", "${second.address}"] }
      "/api": { servers: ["${origin.address}", "${second.address}"] }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all([origin.close(), second.close()]);
});

async function get(path: string, lines: string[] = [], to = proxy, host = "a.test") {
  const answer = await raw(
    to.port,
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines.map((line) => `${line}\r\n`).join("")}Connection: close\r\n\r\n`,
  );
  const seen = JSON.parse(answer.body) as { name: string; headers: Record<string, string>; target: string };
  const all = (name: string) => answer.fields.filter(([field]) => field === name).map(([, value]) => value);
  return { answer, seen: seen.headers, name: seen.name, all };
}

describe("the request to the upstream [15] [17] [B12]", () => {
  test("says who the client is, whatever the client claims", async () => {
    const { seen } = await get("/x", [
      "X-Forwarded-For: 6.6.6.6",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Host: evil.test",
      "X-Forwarded-Port: 1",
      "X-Real-IP: 6.6.6.6",
      "Forwarded: for=6.6.6.6",
    ]);
    expect(seen["x-forwarded-for"]).toBe("127.0.0.1");
    expect(seen["x-forwarded-proto"]).toBe(overTls ? "https" : "http");
    expect(seen["x-forwarded-host"]).toBe("a.test");
    expect(seen["x-forwarded-port"]).toBe(String(overTls ? proxy.tlsPort : proxy.port));
    expect(seen["x-real-ip"]).toBe("127.0.0.1");
    expect(seen["forwarded"]).toBeUndefined();
    expect(seen["host"]).toBe("a.test");
  });
  test("keeps what a trusted proxy says and appends it as a hop", async () => {
    await using trusting = await startProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${origin.address}"] } } } }`,
      {
        trusted_proxies: ["loopback", "10.0.0.0/8"],
      },
    );
    const { seen } = await get(
      "/x",
      ["X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.test"],
      trusting,
    );
    expect(seen["x-forwarded-for"]).toBe("6.6.6.6, 203.0.113.7, 10.1.1.1, 127.0.0.1");
    expect(seen["x-real-ip"]).toBe("203.0.113.7");
    expect(seen["x-forwarded-proto"]).toBe("https");
    expect(seen["x-forwarded-host"]).toBe("public.test");
  });
  test("carries no hop-by-hop field, none that Connection names, no Proxy and no name with an underscore", async () => {
    const answer = await raw(
      proxy.port,
      "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Private, X-Forwarded-For\r\nX-Private: 1\r\nKeep-Alive: 300\r\nTE: trailers\r\nProxy-Connection: x\r\nProxy-Authorization: Basic eA==\r\nProxy: http://evil\r\nX_Real_IP: 6.6.6.6\r\nX-Kept: yes\r\n\r\n",
    );
    const { headers } = JSON.parse(answer.body) as { headers: Record<string, string> };
    for (const name of ["x-private", "keep-alive", "proxy-connection", "proxy-authorization", "proxy", "x_real_ip"])
      expect(headers[name]).toBeUndefined();
    expect(headers["x-kept"]).toBe("yes");
    expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
  });
  test("has a request id: the client's, or one made here", async () => {
    expect((await get("/", ["X-Request-Id: abc-1"])).seen["x-request-id"]).toBe("abc-1");
    expect((await get("/")).seen["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  });
  test("gets server_headers: set replaces, + adds, - removes, Host may be set, values keep their colons", async () => {
    const top = (await get("/", ["X-Up: client"])).seen;
    expect(top["x-up"]).toBe("top");
    expect(top["x-time"]).toBe("12:30:00");
    const own = (await get("/own", ["X-Secret: s", "X-More: 1"])).seen;
    expect(own["x-up"]).toBe("path");
    expect(own["x-secret"]).toBeUndefined();
    expect(own["x-more"]).toBe("1, 2");
    expect(own["host"]).toBe("inner.test");
    expect(own["x-forwarded-host"]).toBe("a.test");
  });
  test("that has come through this proxy before gets 508", async () => {
    await using loop = await startProxy(`upstreams: { a.test: { paths: { "/": { redirect_to: "https://x.test" } } } }`);
    await loop.apply(
      `upstreams: { a.test: { paths: { "/": { healthcheck: false, servers: ["127.0.0.1:${loop.port}"] } } } }`,
    );
    const answer = await raw(loop.port, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    expect(answer.status).toBe(508);
  });
});

describe("the answer to the client [15] [B11]", () => {
  test("gets client_headers by set, merged by name: path over host over top level", async () => {
    const { all } = await get("/");
    expect(all("access-control-allow-origin")).toEqual(["*"]);
    expect(all("x-global")).toEqual(["g:1"]);
    expect(all("x-level")).toEqual(["host"]);
    const own = await get("/own");
    expect(own.all("x-level")).toEqual(["path"]);
    expect(own.all("x-global")).toEqual(["g:1"]);
    expect(own.all("x-from").join(", ")).toBe("upstream, added");
    expect(own.all("x-gone")).toEqual([]);
  });
  test("loses hop-by-hop fields and keeps every Set-Cookie apart", async () => {
    const { all } = await get("/");
    expect(all("x-hop")).toEqual([]);
    expect(all("keep-alive")).toEqual([]);
    expect(all("set-cookie")).toEqual(["a=1; Path=/", "b=2"]);
    expect(all("x-from")).toEqual(["upstream"]);
  });
});

describe("a sticky session [9] [B14]", () => {
  const sticky = (lines: string[], path = "/") => get(path, lines, proxy, "sticky.test");
  const cookieOf = (lines: readonly string[]) => lines.find((line) => line.startsWith("backend_id="))!;
  test("keeps the client on one server; the upstream's own cookies survive", async () => {
    const first = await sticky([]);
    const cookie = cookieOf(first.all("set-cookie"));
    expect(cookie).toMatch(/^backend_id=[0-9a-f]{32}; Path=\/; Max-Age=8600; HttpOnly; SameSite=Lax(; Secure)?$/);
    expect(cookie.endsWith("; Secure")).toBe(overTls);
    if (first.name === "one") expect(first.all("set-cookie")).toContain("b=2");
    for (let i = 0; i < 6; i++)
      expect((await sticky([`Cookie: x=1; ${cookie.split(";")[0]}; y=2`])).name).toBe(first.name);
  });
  test("without the cookie requests go round", async () => {
    const names = new Set<string>();
    for (let i = 0; i < 4; i++) names.add((await sticky([])).name);
    expect([...names].sort()).toEqual(["one", "two"]);
  });
  test("two routes of one host share the cookie without pushing each other out", async () => {
    const root = await sticky([]);
    const api = await sticky([`Cookie: ${cookieOf(root.all("set-cookie")).split(";")[0]}`], "/api");
    const both = cookieOf(api.all("set-cookie")).split(";")[0]!;
    for (let i = 0; i < 3; i++) {
      expect((await sticky([`Cookie: ${both}`])).name).toBe(root.name);
      expect((await sticky([`Cookie: ${both}`], "/api")).name).toBe(api.name);
    }
  });
  test("a made-up cookie is ignored and replaced", async () => {
    const { all } = await sticky([`Cookie: backend_id=${"a".repeat(32)}; backend_id=../../x`]);
    expect(cookieOf(all("set-cookie"))).toMatch(/^backend_id=[0-9a-f]{32}(\.a{32})?;/);
  });
});

test("what a rule sets or removes does not come in behind a body either", async () => {
  let seen = "";
  await using up = await startRawOrigin((socket, data) => {
    seen += data.toString("latin1");
    if (seen.endsWith("\r\n\r\n"))
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Secret: up\r\nX-Sum: 2\r\n\r\n");
  });
  await using proxy = await startProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false, server_headers: ["X-User: us", "-X-Gone"], client_headers: ["-X-Secret"] } } } }`,
    { listener_engine: "socket", upstream_engine: "socket" },
  );
  const answer = await raw(
    proxy.port,
    "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-User: them\r\nX-Gone: 1\r\nX-Sum: 1\r\n\r\n",
  );
  expect(seen.slice(seen.indexOf("\r\n0\r\n"))).toBe("\r\n0\r\nX-Sum: 1\r\n\r\n");
  expect(answer.body).toEndWith("0\r\nX-Sum: 2\r\n\r\n");
});
