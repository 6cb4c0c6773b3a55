/** HTTPS on both TLS engines: certificates by folder, what upstreams and clients are told, client certificates by host. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import WebSocket, { WebSocketServer, type ClientOptions } from "ws";
import type { AddressInfo } from "node:net";
import type { WrittenSettings } from "../../src/config/settings.ts";
import { madeBySelf, put, temporary } from "../support/certificates.ts";
import { Program } from "../support/programs.ts";
import { startOrigin, type Origin } from "../support/origins.ts";
import { startPatientProxy, startProxy, until, type TestProxy } from "../support/proxy.ts";
import { send } from "../support/send.ts";
import { raw } from "../support/raw.ts";
import { curl } from "../support/curl.ts";
import { handshake, openTls, rawOver, selfSigned, startAuthority, type Pem } from "../support/tls.ts";

type Engine = "socket" | "bun";
const engines: readonly Engine[] = ["socket", "bun"];
const certificates = { a: selfSigned("a.test"), b: selfSigned("b.test") };

/** A proxy with a TLS port, and a folder of certificates. */
async function startTlsProxy(rules: string, engine: Engine | "auto", settings: Partial<WrittenSettings> = {}) {
  const folder = join(process.env.TMPDIR ?? "/tmp", `aralez-tls-${crypto.randomUUID()}`);
  mkdirSync(folder);
  const put = (name: string, { cert, key }: Pem) => {
    writeFileSync(join(folder, `${name}.crt`), cert);
    writeFileSync(join(folder, `${name}.key`), key);
  };
  put("a", certificates.a);
  put("b", certificates.b);
  let proxy: TestProxy;
  try {
    proxy = await startPatientProxy(rules, {
      listener_engine: engine,
      proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
      proxy_configs: folder,
      ...settings,
    });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const { tlsPort } = proxy;
  return {
    proxy,
    put,
    remove: (name: string) => ["crt", "key"].forEach((end) => rmSync(join(folder, `${name}.${end}`))),
    /** who is shown under a name */
    shown: async (name: string) => (await handshake(tlsPort, ["-servername", name])).subject,
    get: (host: string, target = "/", more: Parameters<typeof rawOver>[2] = {}) =>
      rawOver(tlsPort, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, {
        serverName: host,
        ...more,
      }),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const hostRules = ({ address }: Origin, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"]${more && `, ${more}`} } } }, b.test: { paths: { "/": { servers: ["${address}"] } } } }`;
const seenBy = (body: string) =>
  JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1)).headers as Record<string, string>;
const field = (fields: readonly (readonly [string, string])[], name: string) =>
  fields.filter(([each]) => each === name).map(([, value]) => value);

for (const engine of engines) {
  describe(`the TLS port of the engine ${engine}`, () => {
    test("tells the upstream that it was https, and redirects to its own port [16]", async () => {
      await using up = await startOrigin();
      await using tls = await startTlsProxy(hostRules(up, "to_https: true, sticky_sessions: 60"), engine);
      const moved = await raw(tls.proxy.plainPort, "GET /x?y HTTP/1.1\r\nHost: a.test:99\r\nConnection: close\r\n\r\n");
      expect(field(moved.fields, "location")).toEqual([`https://a.test:${tls.proxy.tlsPort}/x?y`]);
      const answer = await tls.get("a.test", "/x");
      expect(answer.status).toBe(200);
      expect(seenBy(answer.body)).toMatchObject({
        "x-forwarded-proto": "https",
        "x-forwarded-port": String(tls.proxy.tlsPort),
        "x-forwarded-for": "127.0.0.1",
      });
      expect(field(answer.fields, "set-cookie")[0]).toEndWith("; Secure");
    });

    test("sends HSTS where it is asked for, or where to_https meets the grade high; never twice, never in the clear", async () => {
      await using up = await startOrigin((request, response) => {
        if (request.url === "/own") response.setHeader("Strict-Transport-Security", "max-age=5");
        response.end("ok");
      });
      const hsts = async (tls: Awaited<ReturnType<typeof startTlsProxy>>, host: string, target = "/") =>
        field((await tls.get(host, target)).fields, "strict-transport-security");
      const rules = `
upstreams:
  a.test: { paths: { "/": { to_https: true, servers: ["${up.address}"] }, "/moved": { to_https: true, redirect_to: "/x" } } }
  b.test: { hsts: 60, paths: { "/": { servers: ["${up.address}"] }, "/rule": { servers: ["${up.address}"], client_headers: ["Strict-Transport-Security: max-age=7"] }, "/none": { servers: ["${up.address}"], client_headers: ["-Strict-Transport-Security"] } } }
  c.test: { hsts: 0, paths: { "/": { to_https: true, servers: ["${up.address}"] } } }
`;
      await using high = await startTlsProxy(rules, engine, { proxy_tls_grade: "high" });
      expect(await hsts(high, "a.test")).toEqual(["max-age=31536000"]);
      expect(await hsts(high, "a.test", "/moved")).toEqual(["max-age=31536000"]);
      expect(await hsts(high, "a.test", "/own")).toEqual(["max-age=5"]);
      expect(await hsts(high, "b.test")).toEqual(["max-age=60"]);
      expect(await hsts(high, "b.test", "/rule")).toEqual(["max-age=7"]);
      expect(await hsts(high, "b.test", "/none")).toEqual([]);
      expect(await hsts(high, "c.test")).toEqual([]);
      const plain = await raw(high.proxy.plainPort, "GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n");
      expect([plain.status, field(plain.fields, "strict-transport-security")]).toEqual([200, []]);
      await using medium = await startTlsProxy(rules, engine);
      expect(await hsts(medium, "a.test")).toEqual([]);
      expect(await hsts(medium, "b.test")).toEqual(["max-age=60"]);
    });

    test("serves curl over HTTP/2", async () => {
      await using up = await startOrigin();
      await using tls = await startTlsProxy(hostRules(up), engine);
      const said = await curl(tls.proxy.tlsPort, "a.test", "/x?y=1", ["-w", "\n%{http_version} %{http_code}"]);
      expect(said.split("\n").at(-1)).toBe("2 200");
      expect(seenBy(said)).toMatchObject({ host: "a.test", "x-forwarded-proto": "https" });
      const posted = await curl(tls.proxy.tlsPort, "a.test", "/p", ["--data-binary", "x".repeat(100_000)]);
      expect(posted).toContain("x".repeat(100_000));
    });

    test("carries WebSockets", async () => {
      const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
      server.on("connection", (socket, request) => {
        socket.send(String(request.headers["x-forwarded-proto"]));
        socket.on("message", (data) => socket.send(data));
      });
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as AddressInfo;
      await using tls = await startTlsProxy(hostRules({ address: `127.0.0.1:${port}` } as Origin), engine);
      const client = new WebSocket(`wss://127.0.0.1:${tls.proxy.tlsPort}/chat`, {
        rejectUnauthorized: false,
        servername: "a.test",
        headers: { Host: "a.test" },
      } as ClientOptions);
      const got: string[] = [];
      client.on("message", (data) => got.push(data.toString()));
      await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
      client.send("hello");
      await until(() => got.includes("hello"), "the echo");
      expect(got).toEqual(["https", "hello"]);
      client.terminate();
      await new Promise((resolve) => server.close(resolve));
    });

    test("carries WebSockets of node's own ws", async () => {
      const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
      server.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as AddressInfo;
      await using tls = await startTlsProxy(hostRules({ address: `127.0.0.1:${port}` } as Origin), engine);
      const script = join(import.meta.dir, "../support/ws-client.mjs");
      const steps = [
        ["text", "hi"],
        ["messages", 1],
        ["close", 1000, "bye"],
      ];
      const given = JSON.stringify({ headers: { Host: "a.test" }, steps });
      await using node = new Program("node", [script, `wss://127.0.0.1:${tls.proxy.tlsPort}/`, given], {
        NODE_TLS_REJECT_UNAUTHORIZED: "0",
      });
      expect(await node.end()).toBe(0);
      const done = node.output.split("\n").find((line) => line.includes('"done"'))!;
      expect(JSON.parse(done)).toMatchObject({ messages: 1, close: { code: 1000, reason: "bye" } });
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    });

    test("serves added, replaced and removed certificates to new connections; a bad pair disturbs nobody [21]", async () => {
      await using up = await startOrigin();
      await using tls = await startTlsProxy(hostRules(up), engine);
      expect(await tls.shown("b.test")).toBe("CN=b.test");
      expect(await tls.shown("c.test")).toBe("CN=a.test");
      tls.put("c", selfSigned("c.test"));
      await until(async () => (await tls.shown("c.test")) === "CN=c.test", "c.test");
      tls.put("b", { key: "nonsense", cert: "nonsense" });
      tls.put("bad", { key: certificates.a.key, cert: certificates.b.cert });
      // The status names it, as the log and `aralez certs` do.
      await until(async () => {
        const { body } = await send(tls.proxy.adminPort, "/status", { host: "127.0.0.1" });
        const { certificates: served, certificate_problems: problems } = JSON.parse(body);
        return (
          served.every(({ name }: { name: string }) => name !== "bad") &&
          /bad\.(crt|key)/.test(JSON.stringify(problems))
        );
      }, "the bad pair in /status");
      await tls.proxy.logged(/bad\.(crt|key)/);
      expect(await tls.shown("b.test")).toBe("CN=b.test");
      tls.remove("c");
      await until(async () => (await tls.shown("c.test")) === "CN=a.test", "the default");
      expect((await tls.get("a.test")).status).toBe(200);
    });
  });
}

test("the socket engine serves a default certificate of every kind", async () => {
  for (const kind of ["p521", "ed25519"] as const) {
    using folder = temporary();
    put(folder.path, "a", madeBySelf({ kind }));
    await using proxy = await startProxy("upstreams: {}", {
      listener_engine: "socket",
      proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
      proxy_configs: folder.path,
    });
    const { ok, output } = await handshake(proxy.tlsPort, ["-servername", "a.test", "-alpn", "h2,http/1.1"]);
    expect([kind, ok, /^ALPN protocol: (.*)$/m.exec(output)?.[1]]).toEqual([kind, true, "h2"]);
    expect(proxy.log()).not.toMatch(/served by Bun\.serve/);
  }
});

test("http3: true brings HTTP/3 on Bun.serve, and certificates change under it", async () => {
  await using up = await startOrigin();
  await using tls = await startTlsProxy(hostRules(up), "bun", { http3: true });
  const ask = async () => {
    const init = { protocol: "http3", headers: { Host: "a.test" }, tls: { rejectUnauthorized: false } };
    const answer = await fetch(`https://127.0.0.1:${tls.proxy.tlsPort}/x`, init as BunFetchRequestInit);
    return { status: answer.status, seen: seenBy(await answer.text()) };
  };
  const first = await ask();
  expect([first.status, first.seen["x-forwarded-proto"]]).toEqual([200, "https"]);
  expect(await curl(tls.proxy.tlsPort, "a.test", "/x", ["-o", "/dev/null", "-D", "-"])).toMatch(/^alt-svc: h3=/im);
  tls.put("c", selfSigned("c.test"));
  await until(async () => (await tls.shown("c.test")) === "CN=c.test", "c.test");
  for (let i = 0; i < 20; i++) expect((await ask()).status).toBe(200);
});

describe("client certificates by host", () => {
  const one = startAuthority("one");
  const two = startAuthority("two");
  afterAll(() => [one, two].forEach((authority) => authority[Symbol.dispose]()));
  const good = one.sign("/O=Ex/CN=ann");
  const other = two.sign("/CN=bob");
  const past = one.sign("/CN=late", [], { until: "past" });
  const files = join(process.env.TMPDIR ?? "/tmp", `aralez-ca-${crypto.randomUUID()}`);
  mkdirSync(files);
  for (const [name, { cert }] of Object.entries({ one, two })) writeFileSync(join(files, `${name}.pem`), cert);
  afterAll(() => rmSync(files, { recursive: true, force: true }));
  const rules = (up: Origin, auth = "require") => `
upstreams:
  a.test: { client_ca: ${files}/one.pem, client_auth: ${auth}, paths: { "/": { servers: ["${up.address}"] } } }
  b.test: { paths: { "/": { servers: ["${up.address}"] } } }
`;

  test("let in whom the authority has signed, and tell the upstream who it is; client-sent names are removed", async () => {
    await using up = await startOrigin();
    await using tls = await startTlsProxy(rules(up), "socket");
    const answer = await tls.get("a.test", "/", { options: good });
    expect(answer.status).toBe(200);
    expect(seenBy(answer.body)).toMatchObject({
      "client-cert": `:${good.cert.replace(/-----[^-]+-----|\s/g, "")}:`,
      "x-client-subject": "CN=ann,O=Ex",
    });
    for (const [host, options] of [
      ["b.test", {}],
      ["b.test", good],
    ] as const) {
      const forged = `GET / HTTP/1.1\r\nHost: ${host}\r\nClient-Cert: :x:\r\nX-Client-Subject: CN=root\r\nX_Client_Subject: CN=root\r\nConnection: close\r\n\r\n`;
      const seen = seenBy((await rawOver(tls.proxy.tlsPort, forged, { serverName: host, options })).body);
      expect(Object.keys(seen).filter((name) => /client/.test(name))).toEqual([]);
    }
  });

  test("are required: none, another authority's and an expired one get 403 with the reason; other hosts ask nobody", async () => {
    await using up = await startOrigin();
    await using tls = await startTlsProxy(rules(up), "socket");
    const bare = await tls.get("a.test");
    expect([bare.status, bare.body]).toEqual([403, "403 Forbidden: a client certificate is required here\n"]);
    for (const options of [other, past]) {
      const answer = await tls.get("a.test", "/", { options });
      expect([answer.status, answer.body]).toEqual([
        403,
        "403 Forbidden: the client certificate is not accepted here\n",
      ]);
    }
    await tls.proxy.logged(/403 GET \/.*client certificate: certificate has expired/);
    expect((await tls.get("b.test")).status).toBe(200);
    const plain = await raw(tls.proxy.plainPort, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    expect([plain.status, plain.body]).toEqual([
      403,
      "403 Forbidden: a client certificate is required here, and only https can show one\n",
    ]);
    expect(up.requests).toHaveLength(1);
  });

  test("are only requested with client_auth: request, but a bad one is refused", async () => {
    await using up = await startOrigin();
    await using tls = await startTlsProxy(rules(up, "request"), "socket");
    expect((await tls.get("a.test")).status).toBe(200);
    const shown = await tls.get("a.test", "/", { options: good });
    expect([shown.status, seenBy(shown.body)["x-client-subject"]]).toEqual([200, "CN=ann,O=Ex"]);
    expect((await tls.get("a.test", "/", { options: other })).status).toBe(403);
  });

  test("of one name do not open another: a request for a host of another policy gets 421", async () => {
    await using up = await startOrigin();
    await using tls = await startTlsProxy(rules(up), "socket");
    const ask = (serverName: string, host: string, options: Partial<Pem> = {}) =>
      tls.get(host, "/", { serverName, options }).then(({ status }) => status);
    expect(await ask("b.test", "a.test")).toBe(421);
    expect(await ask("b.test", "a.test", good)).toBe(421);
    expect(await ask("", "a.test", good)).toBe(421);
    expect(await ask("unknown.test", "a.test", good)).toBe(421);
    expect(await ask("a.test", "b.test", good)).toBe(421);
    expect(await ask("A.TEST", "a.test", good)).toBe(200);
    expect(up.requests).toHaveLength(1);
  });

  test("of the whole port hold for every name, and a host's own authority comes before it", async () => {
    await using up = await startOrigin();
    const settings = { client_ca: join(files, "two.pem") };
    for (const engine of ["socket", "auto"] as const) {
      await using tls = await startTlsProxy(rules(up), engine, settings);
      expect((await tls.get("b.test")).status).toBe(403);
      expect((await tls.get("b.test", "/", { options: good })).status).toBe(403);
      expect((await tls.get("b.test", "/", { options: other })).status).toBe(200);
      expect((await tls.get("b.test", "/", { serverName: "", options: other })).status).toBe(200);
      expect((await tls.get("a.test", "/", { options: other })).status).toBe(403);
      expect((await tls.get("a.test", "/", { options: good })).status).toBe(200);
    }
  });

  test("follow a reload at once, also on connections that stand", async () => {
    await using up = await startOrigin();
    await using tls = await startTlsProxy(rules(up), "socket");
    const standing = await openTls(tls.proxy.tlsPort, "a.test", good);
    const closed = new Promise((resolve) => standing.once("close", resolve));
    standing.resume();
    await tls.proxy.apply(rules(up).replace("one.pem", "two.pem"));
    await closed;
    expect((await tls.get("a.test", "/", { options: good })).status).toBe(403);
    expect((await tls.get("a.test", "/", { options: other })).status).toBe(200);
  });

  test("cannot be had from Bun.serve: the start fails, and so does a reload that asks for them", async () => {
    await using up = await startOrigin();
    await expect(startTlsProxy(rules(up), "bun")).rejects.toThrow(/client_ca.*Bun\.serve/);
    await using tls = await startTlsProxy(hostRules(up), "bun");
    await expect(tls.proxy.apply(rules(up))).rejects.toThrow(/client_ca.*Bun\.serve/);
    expect((await tls.get("a.test")).status).toBe(200);
  });

  test("of a file that is no certificate are refused at load", async () => {
    await using up = await startOrigin();
    await using tls = await startTlsProxy(rules(up), "socket");
    writeFileSync(join(files, "bad.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    await expect(tls.proxy.apply(rules(up).replace("one.pem", "bad.pem"))).rejects.toThrow(/client_ca/);
    expect((await tls.get("a.test", "/", { options: good })).status).toBe(200);
  });
});
