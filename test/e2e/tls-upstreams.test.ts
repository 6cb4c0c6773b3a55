/** TLS upstreams by detection, and trust where it is asked for. */
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer } from "node:https";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { freePort } from "../cli/program.ts";
import { startNginx } from "../support/nginx.ts";
import { startRawOrigin } from "../support/origins.ts";
import { oneProcess, startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";
import { startAuthority } from "../support/tls.ts";

const certs = join(import.meta.dir, "../control/health/certs");
const pair = { key: readFileSync(join(certs, "up.test.key")), cert: readFileSync(join(certs, "up.test.crt")) };

async function listening(server: ReturnType<typeof createServer> | ReturnType<typeof createSecureServer>) {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () =>
      new Promise<void>(
        (resolve) => (server.close(() => resolve()), "closeAllConnections" in server && server.closeAllConnections()),
      ),
  };
}

/** RFC 6455 1.3 */
const webSocketGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const rules = (port: number, more = "") =>
  `upstreams: { up.test: { paths: { "/": { servers: ["127.0.0.1:${port}"]${more && `, ${more}`} } } } }`;
const ask = (port: number) => raw(port, "GET /x HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n\r\n");

test("a self-signed server listed as host:port works, with one warning, from the first request on; verify refuses it, ca_file trusts it [18] [B13] [B18]", async () => {
  await using up = await listening(
    createServer(pair, (request, response) => void response.end(`tls ${request.headers.host}`)),
  );
  await using proxy = await startProxy(rules(up.port));
  for (let i = 0; i < 3; i++) expect((await ask(proxy.port)).body).toContain("tls up.test");
  await proxy.logged(/its certificate is not verified/);
  expect(proxy.log().match(/its certificate is not verified/g)).toHaveLength(1);
  await proxy.apply(rules(up.port, "protocol: https, healthcheck: false, verify: true"));
  expect((await ask(proxy.port)).status).toBe(502);
  await proxy.logged(/tls_failed/);
  await proxy.apply(rules(up.port, `protocol: https, healthcheck: false, ca_file: ${join(certs, "up.test.crt")}`));
  expect((await ask(proxy.port)).body).toContain("tls up.test");
  await proxy.apply(
    rules(
      up.port,
      `protocol: https, healthcheck: false, server_name: other.test, ca_file: ${join(certs, "up.test.crt")}`,
    ),
  );
  expect((await ask(proxy.port)).status).toBe(502);
});

test("an expired server works like any other, until verify asks for more: 502, and the log says why", async () => {
  using authority = startAuthority("upstreams");
  const { key, cert } = authority.sign("/CN=up.test", ["up.test"], { until: "past" });
  await using up = await listening(createServer({ key, cert }, (_, response) => void response.end("expired")));
  const folder = mkdtempSync(join(tmpdir(), "aralez-expired-"));
  try {
    writeFileSync(join(folder, "ca.pem"), authority.cert);
    await using proxy = await startProxy(rules(up.port));
    expect((await ask(proxy.port)).body).toContain("expired");
    await proxy.apply(rules(up.port, `protocol: https, healthcheck: false, ca_file: ${join(folder, "ca.pem")}`));
    expect((await ask(proxy.port)).status).toBe(502);
    expect(await proxy.logged(/answer - 502 /)).toMatch(/tls_failed: .*expired/i);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a server with healthcheck: false is never probed; the log says which line to add where it speaks TLS [18]", async () => {
  const rows: [name: string, answer: Buffer, hint: string][] = [
    // fatal, unexpected_message: RFC 8446 6.2
    ["an alert", Buffer.from([0x15, 3, 1, 0, 2, 2, 10]), "what it sent is TLS: its path needs `protocol: https`"],
    ["nothing", Buffer.alloc(0), "before it answered; if it speaks TLS, its path needs `protocol: https`"],
    ["half a head", Buffer.from("HTTP/1.1 200"), "inside the head of its answer"],
  ];
  for (const [name, answer, hint] of rows) {
    const asked: string[] = [];
    await using up = await startRawOrigin((socket, data) => {
      asked.push(data.toString("latin1").split("\r\n")[0]!);
      socket.end(answer);
    });
    await using proxy = await startProxy(rules(up.port, "healthcheck: false"), { upstream_engine: "socket" });
    await proxy.logged(/ in force: /);
    expect([name, asked]).toEqual([name, []]);
    expect((await raw(proxy.plainPort, "POST /x HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n\r\n")).status).toBe(
      502,
    );
    // Where there is a main.yaml, the command to explain it follows.
    expect((await proxy.logged(/answer - 502 POST/)).replace(/; aralez explain .*$/, "")).toEndWith(hint);
    expect([name, asked]).toEqual([name, ["POST /x HTTP/1.1"]]);
  }
});

test("a WebSocket to a server that prefers HTTP/2 goes by HTTP/1.1 [B21]", async () => {
  const server = createSecureServer({ ...pair, allowHTTP1: true });
  const versions: string[] = [];
  server.on("request", (request, response) => (versions.push(request.httpVersion), void response.end("page")));
  server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
    versions.push(`${request.headers.upgrade} over ${request.httpVersion}`);
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}${webSocketGuid}`)
      .digest("base64");
    const fields = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}`;
    socket.end(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`);
  });
  await using up = await listening(server);
  await using proxy = await startProxy(rules(up.port, "healthcheck: {method: GET}"));
  expect((await ask(proxy.port)).body).toContain("page");
  const upgrade = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==`;
  const answer = await raw(proxy.port, `GET /ws HTTP/1.1\r\nHost: up.test\r\n${upgrade}\r\n\r\n`);
  expect([answer.status, answer.fields.find(([name]) => name === "sec-websocket-accept")?.[1]]).toEqual([
    101,
    "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
  ]);
  expect(versions).toContain("websocket over 1.1");
});

test("a server that only speaks HTTP/2 over TLS is found out and answered through fetch", async () => {
  const server = createSecureServer(
    { ...pair, allowHTTP1: false },
    (request, response) => void response.end(`h2 ${request.headers[":authority"]}`),
  );
  await using up = await listening(server);
  await using proxy = await startProxy(rules(up.port));
  await until(async () => (await ask(proxy.port)).body.includes("h2 up.test"), "an answer over HTTP/2");
});

test("a session of a TLS upstream is resumed, but never under another name or trust", async () => {
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const port = freePort();
    await using _ = await startNginx({
      server: "return 404;",
      more: `
        server {
          listen 127.0.0.1:${port} ssl;
          ssl_protocols ${version};
          ssl_certificate ${certs}/up.test.crt; ssl_certificate_key ${certs}/up.test.key;
          keepalive_timeout 0;
          location / { return 200 "$ssl_session_reused $ssl_server_name"; }
        }`,
    });
    const from = (more: string) => rules(port, `protocol: https, healthcheck: false${more}`);
    await using proxy = await startProxy(from(""), { upstream_engine: "socket", ...oneProcess });
    const said = async () => (await ask(proxy.port)).body;
    expect([await said(), await said(), await said()]).toEqual([". up.test", "r up.test", "r up.test"]);
    await proxy.apply(from(", server_name: other.test"));
    expect([await said(), await said()]).toEqual([". other.test", "r other.test"]);
    await proxy.apply(from(`, ca_file: ${certs}/up.test.crt`));
    expect([await said(), await said()]).toEqual([". up.test", "r up.test"]);
  }
});

test("an upstream is asked for by its name, never by an address; and that is what is verified", async () => {
  using authority = startAuthority("Upstreams");
  const folder = mkdtempSync(join(tmpdir(), "aralez-sni-"));
  try {
    writeFileSync(join(folder, "ca.pem"), authority.cert);
    const asked: (string | false)[] = [];
    const serve = (san: string) => {
      const signed = authority.sign("/CN=up", [], { extensions: [`subjectAltName=${san}`] });
      const server = createServer(signed, (request, response) => {
        asked.push((request.socket as TLSSocket).servername ?? "");
        response.setHeader("Connection", "close").end("ok");
      });
      server.on("upgrade", (request, socket) => {
        asked.push((request.socket as TLSSocket).servername ?? "");
        socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      });
      return listening(server);
    };
    await using byAddress = await serve("IP:127.0.0.1");
    await using byName = await serve("DNS:localhost");
    const verified = `, ca_file: ${folder}/ca.pem`;
    const route = (server: string, trust = verified, host = "DEFAULT") =>
      `upstreams: { ${host}: { paths: { "/": { servers: ["${server}"], protocol: https, healthcheck: false${trust} } } } }`;
    await using proxy = await startProxy(route("127.0.0.1:1"));
    const key = `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${btoa("0123456789abcdef")}`;
    const heads = [`Connection: close`, `Connection: Upgrade\r\nUpgrade: websocket\r\n${key}`];
    /** statuses of a request and of an upgrade, and the names asked for */
    const tried = async (rules: string) => {
      asked.length = 0;
      await proxy.apply(rules);
      const statuses: number[] = [];
      for (const head of heads)
        statuses.push((await raw(proxy.port, `GET /x HTTP/1.1\r\nHost: 10.0.0.9\r\n${head}\r\n\r\n`)).status);
      return [...statuses, ...asked];
    };
    expect(await tried(route(`127.0.0.1:${byAddress.port}`))).toEqual([200, 403, false, false]);
    expect(await tried(route(`localhost:${byName.port}`))).toEqual([200, 403, "localhost", "localhost"]);
    expect(await tried(route(`127.0.0.1:${byName.port}`))).toEqual([502, 502]);
    expect(await tried(route(`localhost:${byAddress.port}`))).toEqual([502, 502]);
    // Nor is a matched host that is an address.
    expect(await tried(route(`127.0.0.1:${byName.port}`, "", "10.0.0.9"))).toEqual([200, 403, false, false]);
    expect(await tried(route(`127.0.0.1:${byAddress.port}`, verified, "10.0.0.9"))).toEqual([502, 502]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
