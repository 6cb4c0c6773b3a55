import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askHealth } from "../../../src/control/health/probe.ts";
import * as servers from "./servers.ts";

afterEach(servers.closeServers);

const { probe } = servers;

describe("a plain server", () => {
  test("gets exactly the request that is configured, on a connection of its own", async () => {
    const heads: string[] = [];
    const origin = await servers.raw((socket) => {
      socket.once("data", (chunk: Buffer) => {
        heads.push(chunk.toString("latin1"));
        socket.end("HTTP/1.1 204 No Content\r\n\r\n");
      });
    });
    const verdict = await askHealth(
      origin.address,
      probe({ method: "GET", path: "/alive?deep=1", host: "app.test:8080" }),
      "http",
    );
    expect(verdict).toEqual({ up: true, cause: "answered 204", status: 204 });
    expect(heads).toEqual([
      "GET /alive?deep=1 HTTP/1.1\r\nHost: app.test:8080\r\nUser-Agent: aralez-healthcheck\r\nAccept: */*\r\nConnection: close\r\n\r\n",
    ]);
  });

  test("is up or down by the expected codes and ranges", async () => {
    const origin = await servers.plain(
      (request, response) => void response.writeHead(Number(request.url!.slice(1))).end(),
    );
    const ask = async (status: number, expect: [number, number][]) =>
      (await askHealth(origin.address, probe({ path: `/${status}`, expect }), "http")).up;
    expect(await ask(200, [[200, 200]])).toBe(true);
    expect(await ask(499, [[200, 499]])).toBe(true);
    expect(await ask(500, [[200, 499]])).toBe(false);
    expect(
      await ask(404, [
        [200, 299],
        [404, 404],
      ]),
    ).toBe(true);
    expect(
      await ask(403, [
        [200, 299],
        [404, 404],
      ]),
    ).toBe(false);
  });

  test("that knows no HEAD is down only where 405 is not expected, and the cause says so", async () => {
    const origin = await servers.plain(
      (request, response) => void response.writeHead(request.method === "HEAD" ? 405 : 200).end(),
    );
    expect((await askHealth(origin.address, probe(), "http")).up).toBe(true);
    const strict = await askHealth(origin.address, probe({ expect: [[200, 299]] }), "http");
    expect(strict).toEqual({ up: false, cause: "answered 405", status: 405 });
    expect((await askHealth(origin.address, probe({ method: "GET", expect: [[200, 299]] }), "http")).up).toBe(true);
  });

  test("that redirects is not followed", async () => {
    const other = await servers.plain();
    const origin = await servers.plain(
      (_q, response) => void response.writeHead(302, { location: `http://127.0.0.1:${other.address.port}/` }).end(),
    );
    expect(await askHealth(origin.address, probe({ expect: [[200, 299]] }), "http")).toMatchObject({
      up: false,
      status: 302,
    });
    expect(other.accepted).toBe(0);
  });

  test("may send interim answers first", async () => {
    const origin = await servers.raw((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n");
        socket.end("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      });
    });
    expect(await askHealth(origin.address, probe(), "http")).toMatchObject({ up: true, status: 200 });
  });

  test("with an endless body is up, its body is not read to the end", async () => {
    let sent = 0;
    const origin = await servers.raw((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        const more = () => {
          while (!socket.destroyed && sent < 1e9) {
            sent += 65_536;
            if (!socket.write(Buffer.alloc(65_536))) return void socket.once("drain", more);
          }
        };
        more();
      });
    });
    expect(await askHealth(origin.address, probe({ method: "GET", timeoutMs: 20_000 }), "http")).toMatchObject({
      up: true,
    });
    await servers.until(() => origin.connections.size === 0, "the connection is closed");
    expect(sent).toBeLessThan(1e9);
  });

  test("that keeps its event stream open is up before the timeout", async () => {
    const origin = await servers.plain(
      (_q, response) => void response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n"),
    );
    expect(await askHealth(origin.address, probe({ method: "GET", timeoutMs: 60_000 }), "http")).toMatchObject({
      up: true,
    });
    await servers.until(() => origin.connections.size === 0, "the connection is closed");
  });

  test("asked with POST hears that there is no body", async () => {
    const lengths: (string | undefined)[] = [];
    const origin = await servers.plain((request, response) => {
      lengths.push(request.headers["content-length"]);
      response.end();
    });
    expect(await askHealth(origin.address, probe({ method: "POST" }), "http")).toMatchObject({ up: true });
    expect(lengths).toEqual(["0"]);
  });

  test("on a unix socket is asked too", async () => {
    const folder = mkdtempSync(join(tmpdir(), "aralez-probe-"));
    const server = http.createServer(servers.answer200);
    await new Promise<void>((done) => void server.listen(join(folder, "a.sock"), done));
    expect(await askHealth({ unix: join(folder, "a.sock") }, probe(), "http")).toMatchObject({ up: true });
    server.close();
    rmSync(folder, { recursive: true });
  });

  test("a host with a line break is never sent", async () => {
    const origin = await servers.plain();
    const verdict = await askHealth(origin.address, probe({ host: "a\r\nX-Evil: 1" }), "http");
    expect(verdict.up).toBe(false);
    expect(verdict.cause).toContain("expected no blanks");
    expect(origin.accepted).toBe(0);
  });
});

describe("a server in trouble is down with a short cause", () => {
  test("nobody listens", async () => {
    expect(await askHealth(await servers.refused(), probe(), "http")).toEqual({
      up: false,
      cause: "connection refused",
    });
  });

  test("it never answers", async () => {
    const origin = await servers.silent();
    for (const wire of ["http", "https", "h2", "h2c"] as const) {
      const verdict = await askHealth(origin.address, probe({ timeoutMs: 200 }), wire);
      expect(verdict).toEqual({ up: false, cause: "timed out after 0.2 s" });
    }
    await servers.until(() => origin.connections.size === 0, "all connections are closed");
  });

  test("it answers half a head", async () => {
    const origin = await servers.raw((socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nA: b")));
    expect((await askHealth(origin.address, probe(), "http")).cause).toBe("closed the connection without answering");
  });

  test("it closes at once", async () => {
    for (const wire of ["http", "https", "h2c"] as const) {
      const { up, cause } = await askHealth((await servers.closing()).address, probe(), wire);
      expect(up).toBe(false);
      expect(cause).toMatch(/closed|reset|HTTP\/2/);
    }
  });

  test("it speaks something else", async () => {
    const origin = await servers.raw((socket) => void socket.end("220 mail.test ESMTP ready\r\n"));
    expect((await askHealth(origin.address, probe(), "http")).cause).toBe("answered something that is not HTTP");
    const plain = await servers.plain();
    expect((await askHealth(plain.address, probe(), "https")).cause).toBe("TLS: the server does not speak TLS");
    expect((await askHealth(plain.address, probe(), "h2c")).cause).toBe("does not speak HTTP/2");
  });

  test("its head has no end", async () => {
    const origin = await servers.raw((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n");
        for (let i = 0; i < 100; i++) socket.write(`X-${i}: ${"a".repeat(4_000)}\r\n`);
      });
    });
    expect((await askHealth(origin.address, probe({ timeoutMs: 20_000 }), "http")).cause).toBe(
      "answered with too long a head",
    );
  });
});

describe("a TLS server", () => {
  test("with a self-signed certificate is up, unless it is to be verified", async () => {
    const origin = await servers.secure();
    expect(await askHealth(origin.address, probe(), "https")).toMatchObject({ up: true, status: 200 });
    expect(await askHealth(origin.address, probe({ verify: true }), "https")).toEqual({
      up: false,
      cause: "certificate: self-signed certificate",
    });
  });

  test("is verified by ca_file and name, also by IP", async () => {
    const origin = await servers.secure();
    const verified = { verify: true, caFile: servers.certificateFile };
    expect(await askHealth(origin.address, probe(verified), "https")).toMatchObject({ up: true });
    expect(await askHealth(origin.address, probe({ ...verified, serverName: "127.0.0.1" }), "https")).toMatchObject({
      up: true,
    });
    expect(await askHealth(origin.address, probe({ ...verified, serverName: "" }), "https")).toMatchObject({
      up: true,
    });
    expect((await askHealth(origin.address, probe({ ...verified, serverName: "other.test" }), "https")).cause).toBe(
      'certificate: not for the name "other.test"',
    );
    expect((await askHealth(origin.address, probe({ ...verified, serverName: "127.0.0.2" }), "https")).cause).toBe(
      'certificate: not for the name "127.0.0.2"',
    );
  });

  test("is down with the reason when ca_file cannot be read, and up again when it can", async () => {
    const folder = mkdtempSync(join(tmpdir(), "aralez-ca-"));
    const caFile = join(folder, "ca.pem");
    const origin = await servers.secure();
    const ask = () => askHealth(origin.address, probe({ verify: true, caFile }), "https");
    expect((await ask()).cause).toBe(`Cannot read ca_file "${caFile}": no such file or socket`);
    writeFileSync(caFile, "no certificate");
    expect((await ask()).up).toBe(false);
    writeFileSync(caFile, servers.pair.cert);
    expect((await ask()).up).toBe(true);
    rmSync(folder, { recursive: true });
  });

  test("that takes h2 only is asked by HTTP/2, also when the configuration says https", async () => {
    const origin = await servers.h2Only();
    expect(await askHealth(origin.address, probe(), "h2")).toMatchObject({ up: true, status: 200 });
    expect(await askHealth(origin.address, probe(), "https")).toMatchObject({ up: true, status: 200 });
    expect((await askHealth(origin.address, probe({ verify: true }), "h2")).cause).toBe(
      "certificate: self-signed certificate",
    );
  });

  test("that knows no h2 is down as h2", async () => {
    expect((await askHealth((await servers.secure()).address, probe(), "h2")).up).toBe(false);
  });
});

describe("an h2c server", () => {
  test("is asked by HTTP/2: method, path, host, expected codes", async () => {
    const asked: unknown[] = [];
    const origin = await servers.h2c((request, response) => {
      asked.push([request.method, request.url, request.authority]);
      response.writeHead(503).end();
    });
    const verdict = await askHealth(origin.address, probe({ method: "GET", path: "/x", host: "grpc.test" }), "h2c");
    expect(verdict).toEqual({ up: false, cause: "answered 503", status: 503 });
    expect(asked).toEqual([["GET", "/x", "grpc.test"]]);
    await servers.until(() => origin.connections.size === 0, "the connection is closed");
  });

  test("that resets the stream, as gRPC servers do, has answered 405", async () => {
    const origin = await servers.h2c((request) => void request.stream.close(1));
    expect(await askHealth(origin.address, probe(), "h2c")).toMatchObject({ up: true, status: 405 });
    expect(await askHealth(origin.address, probe({ expect: [[200, 200]] }), "h2c")).toMatchObject({ up: false });
  });

  test("that dies in the middle is down", async () => {
    const origin = await servers.h2c((request) => void request.stream.session!.destroy());
    expect(await askHealth(origin.address, probe(), "h2c")).toMatchObject({ up: false });
  });
});
