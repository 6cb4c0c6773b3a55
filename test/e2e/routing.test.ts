/** Which route a request takes, and what a client gets when there is none (contract points 3, 5–7, 16; A4, A5, B5, B22). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { deadPort, echo, startOrigin, type Origin } from "../support/origins.ts";
import { overTls, startProxy, type TestProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

let origins: Record<string, Origin>;
let proxy: TestProxy;

beforeAll(async () => {
  origins = Object.fromEntries(
    await Promise.all(
      ["root", "foo", "bar", "secret", "wild", "deep", "fallback"].map(async (name) => [
        name,
        await startOrigin(echo(name)),
      ]),
    ),
  );
  const at = (name: string) => `["${origins[name]!.address}"]`;
  proxy = await startProxy(`
provider: file
upstreams:
  a.test:
    paths:
      "/": { servers: ${at("root")} }
      "/foo": { servers: ${at("foo")} }
      "/foo/bar": { servers: ${at("bar")} }
      "/secret": { servers: ${at("secret")} }
      "/lit/": { servers: ${at("bar")} }
      "/cut": { servers: ${at("foo")}, strip_prefix: true }
      "/moved": { redirect_to: "https://new.test/base" }
      "/found": { redirect_to: "https://new.test", redirect_status: 302 }
      "/tls": { servers: ${at("root")}, to_https: true }
      "/tls308": { servers: ${at("root")}, to_https: true, redirect_status: 308 }
      "/café": { servers: ${at("deep")} }
  "*.example.test":
    paths: { "/": { servers: ${at("wild")} } }
  "*.deep.example.test":
    paths: { "/": { servers: ${at("deep")} } }
  noroot.test:
    paths: { "/only": { servers: ${at("root")} } }
  "[::1]":
    paths: { "/": { servers: ${at("deep")} } }
  here.test:
    paths: { "/": { redirect_to: "/" }, "/there": { redirect_to: "https://new.test/" } }
  DEFAULT:
    paths: { "/": { servers: ${at("fallback")} }, "/tls": { servers: ${at("root")}, to_https: true } }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all(Object.values(origins).map((origin) => origin.close()));
});

/** Sends one raw request and names the origin that answered, or the status. */
async function goes(target: string, host: string | null = "a.test", version = "1.1"): Promise<string> {
  const answer = await raw(
    proxy.port,
    `GET ${target} HTTP/${version}\r\n${host === null ? "" : `Host: ${host}\r\n`}Connection: close\r\n\r\n`,
  );
  const origin = answer.fields.find(([name]) => name === "x-origin");
  return origin ? origin[1] : String(answer.status);
}

describe("a path, by its normal form and whole segments [6] [A4]", () => {
  const cases: [target: string, to: string][] = [
    ["/", "root"],
    ["/foo", "foo"],
    ["/foo/", "foo"],
    ["/foo/x", "foo"],
    ["/foo?x=/foo/bar", "foo"],
    ["/foobar", "root"],
    ["/foo/bar", "bar"],
    ["/foo/bar/baz", "bar"],
    ["/foo/barn", "foo"],
    ["/lit/", "bar"],
    ["/lit", "root"],
    ["/lit/x", "root"],
    ["/secret", "secret"],
    ["/%73ecret", "secret"],
    ["//secret", "secret"],
    ["/x/../secret", "secret"],
    ["/x/%2e%2e/secret", "secret"],
    ["/./secret/x", "secret"],
    ["/foo/../foo//bar/.", "bar"],
    ["/SECRET", "root"],
    ["/x%2fy", "root"],
    ["/foo/a%2fb", "foo"],
    ["/foo%2fbar", "400"],
    ["/secret%2fx", "400"],
    ["/secret%2f..%2fx", "root"],
    ["/x/..%2fsecret", "400"],
    ["/x%5c..%5csecret", "400"],
    ["/%2fsecret", "400"],
    ["/a%00b", "400"],
    ["/a%0d%0ab", "400"],
    ["/a%7fb", "400"],
    ["/secret#x", "400"],
    ["/x?y#z", "400"],
    ["/caf%C3%A9/x", "deep"],
    ["/caf%c3%a9", "deep"],
  ];
  for (const [target, to] of cases) test(`${target} goes to ${to}`, async () => expect(await goes(target)).toBe(to));
});

describe("a host, letter case, final dot, port and IPv6 aside [5] [B22]", () => {
  const cases: [host: string | null, to: string, version?: string][] = [
    ["A.TeSt", "root"],
    ["a.test.", "root"],
    ["a.test:8443", "root"],
    ["x.example.test", "wild"],
    ["x.y.example.test", "wild"],
    ["x.deep.example.test", "deep"],
    ["deep.example.test", "wild"],
    ["example.test", "fallback"],
    ["unknown.test", "fallback"],
    ["DEFAULT", "fallback"],
    ["[::1]", "deep"],
    ["[::1]:80", "deep"],
    ["[0:0:0:0:0:0:0:1]", "deep"],
    ["127.0.0.1", "fallback"],
    [null, "fallback", "1.0"],
    [null, "400", "1.1"],
    ["", "400"],
    ["a.test, b.test", "400"],
    ["a.test@b.test", "400"],
    ["a test", "400"],
    ["%61.test", "400"],
    ["a.test:", "root"],
    ["a.test:99999", "400"],
    ["a.test:x", "400"],
    ["[::1", "400"],
    ["[fe80::1%25x]", "400"],
    ["a.test/x", "400"],
    ["a_b.test", "fallback"],
  ];
  for (const [host, to, version] of cases) {
    test(`${host === null ? `missing in HTTP/${version}` : JSON.stringify(host)} goes to ${to}`, async () =>
      expect(await goes("/", host, version)).toBe(to));
  }
  test("twice in one request is refused", async () => {
    const answer = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n");
    expect(answer.status).toBe(400);
  });
});

describe("without a route [7]", () => {
  test("the answer is 404 with one line of text, a request id and one log line", async () => {
    const answer = await raw(proxy.port, "GET /other HTTP/1.1\r\nHost: noroot.test\r\nX-Request-Id: find-me-1\r\n\r\n");
    expect(answer.status).toBe(404);
    expect(answer.body).toBe("404 Not Found: no route for this path\n");
    expect(answer.fields).toContainEqual(["x-request-id", "find-me-1"]);
    const line = await proxy.logged(/find-me-1/);
    expect(line).toContain("host: noroot.test");
    expect(proxy.log().split("find-me-1")).toHaveLength(2);
  });
  test("a request id that could break a log line is replaced", async () => {
    const answer = await raw(
      proxy.port,
      `GET /other HTTP/1.1\r\nHost: noroot.test\r\nX-Request-Id: ${"x".repeat(500)}\r\n\r\n`,
    );
    expect(answer.fields.find(([name]) => name === "x-request-id")![1]).toMatch(/^[0-9a-f-]{36}$/);
  });
  for (const status of [404, 421, 502, 503]) {
    test(`unmatched_status: ${status} decides`, async () => {
      await using other = await startProxy(
        `unmatched_status: ${status}\nupstreams: { a.test: { paths: { "/": { redirect_to: "https://b.test" } } } }\n`,
      );
      expect((await raw(other.port, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")).status).toBe(status);
    });
  }
  test("TRACE gets 405; CONNECT, which names no path, 400 from the parser or 405", async () => {
    expect((await raw(proxy.port, "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n")).status).toBe(405);
    expect([400, 405]).toContain(
      (await raw(proxy.port, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")).status,
    );
  });
});

describe("a redirect keeps host and query, needs no servers [16] [B5]", () => {
  const location = async (target: string, host = "a.test") => {
    const answer = await raw(proxy.plainPort, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    return `${answer.status} ${answer.fields.find(([name]) => name === "location")?.[1]}`;
  };
  test("by redirect_to goes to prefix + path + query and needs no servers", async () => {
    expect(await location("/moved/x?a=1&b=%20")).toBe("301 https://new.test/base/moved/x?a=1&b=%20");
    expect(await location("/found")).toBe("302 https://new.test/found");
  });
  test("that begins with a slash never names another host, whatever the path begins with", async () => {
    for (const target of ["//evil.test/x", "/\\evil.test/x", "/\\/evil.test/x", "http://here.test//evil.test/x"])
      expect([target, await location(target, "here.test")]).toEqual([target, "301 /evil.test/x"]);
    expect(await location("/there//evil.test", "here.test")).toBe("301 https://new.test/there//evil.test");
    const options = await raw(proxy.plainPort, "OPTIONS * HTTP/1.1\r\nHost: here.test\r\nConnection: close\r\n\r\n");
    // Bun.serve refuses the form itself.
    if (options.status !== 400) expect(options.fields.find(([name]) => name === "location")?.[1]).toBe("/");
  });
  const port = () => (overTls ? `:${proxy.tlsPort}` : "");
  test("by to_https keeps host and query, without a port while there is no TLS listener", async () => {
    expect(await location("/tls/x?a=1", "A.test:8080")).toBe(`301 https://a.test${port()}/tls/x?a=1`);
    expect(await location("/tls308/x")).toBe(`308 https://a.test${port()}/tls308/x`);
    if (!overTls) await proxy.logged(/to_https is on but there is no TLS listener/);
  });
  test("under DEFAULT names the request's host, never the word DEFAULT", async () => {
    expect(await location("/tls/x", "some.test")).toBe(`301 https://some.test${port()}/tls/x`);
  });
});

describe("strip_prefix", () => {
  const target = async (sent: string) => {
    const answer = await raw(proxy.port, `GET ${sent} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`);
    const seen = JSON.parse(answer.body) as { target: string; headers: Record<string, string> };
    return `${seen.target} ${seen.headers["x-forwarded-prefix"]}`;
  };
  test("cuts the route's path off and tells the upstream", async () => {
    expect(await target("/cut/x?y=1")).toBe("/x?y=1 /cut");
    expect(await target("/cut")).toBe("/ /cut");
    expect(await target("/cut/?y")).toBe("/?y /cut");
    expect(await target("/%63ut/a%2fb")).toBe("/a%2fb /cut");
  });
});

describe("a matched route never falls through [A5]", () => {
  test("503 with Retry-After when all of its servers are down, though a shorter path is up", async () => {
    const dead = await deadPort();
    await using up = await startOrigin();
    await using other = await startProxy(`
upstreams:
  a.test:
    paths:
      "/": { servers: ["${up.address}"] }
      "/down": { servers: ["127.0.0.1:${dead}"] }
`);
    const ask = () => raw(other.port, "GET /down/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    const answer = await until(async () => {
      const got = await ask();
      return got.status === 503 && got;
    }, "503");
    expect(answer.fields.find(([name]) => name === "retry-after")?.[1]).toBe("1");
    expect(answer.body).toStartWith("503 Service Unavailable: ");
    expect(up.requests).toHaveLength(0);
    await other.logged(new RegExp(`all members are down: 127.0.0.1:${dead} connection refused`));
  });
});
