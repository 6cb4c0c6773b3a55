import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { detect, verdict } from "../../../src/control/health/detect.ts";
import { Resolver } from "../../../src/lib/resolve.ts";
import * as servers from "./servers.ts";

afterEach(servers.closeServers);

const options = { serverName: "up.test", timeoutMs: 5_000 };
const ask = (origin: servers.Origin, more = {}) => detect(origin.address, { ...options, ...more });

describe("what an endpoint speaks is found out", () => {
  test("a plain HTTP/1.1 server is http", async () => {
    expect(await ask(await servers.plain())).toBe("http");
  });

  test("Bun.serve, plain and TLS with HTTP/2, is http and https", async () => {
    const plain = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("x") });
    const secure = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: servers.pair,
      http2: true,
      fetch: () => new Response("x"),
    });
    try {
      expect(await detect({ host: "127.0.0.1", port: plain.port! }, options)).toBe("http");
      expect(await detect({ host: "127.0.0.1", port: secure.port! }, options)).toBe("https");
    } finally {
      await Promise.all([plain.stop(true), secure.stop(true)]);
    }
  });

  test("a TLS server that knows HTTP/1.1 only is https", async () => {
    expect(await ask(await servers.secure())).toBe("https");
  });

  test("a TLS server that speaks h2 and HTTP/1.1 is https", async () => {
    expect(await ask(await servers.h2AndH1())).toBe("https");
  });

  test("a TLS server that speaks h2 only is h2", async () => {
    expect(await ask(await servers.h2Only())).toBe("h2");
  });

  test("a TLS server that agrees to no protocol but HTTP/2 and answers HTTP/1.0 403 is h2, as Node's does", async () => {
    const origin = await servers.rawTls(
      {
        ALPNCallback: ({ protocols }: { protocols: string[] }) => (protocols.includes("h2") ? "h2" : undefined),
      } as never,
      (socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.end("HTTP/1.0 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
      },
    );
    expect(await ask(origin)).toBe("h2");
  });

  test("a plain server that speaks h2 only is h2c", async () => {
    expect(await ask(await servers.h2c((_request, response) => response.end("x")))).toBe("h2c");
  });

  test("an h2c server that waits in silence for the preface is h2c", async () => {
    const origin = await servers.raw((socket) => {
      let bytes = Buffer.alloc(0);
      socket.on("data", (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        if (bytes.includes("PRI * HTTP/2.0")) socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
      });
    });
    expect(await ask(origin, { timeoutMs: 1_000 })).toBe("h2c");
  });

  test("a plain server that waits in silence for the rest of a ClientHello is http, and soon", async () => {
    const origin = await servers.raw((socket) => {
      socket.on("data", (chunk: Buffer) => {
        if (chunk.includes("HTTP/1.1\r\n")) socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      });
    });
    // The deadline is far away: the answer must not wait for it.
    expect(await ask(origin, { timeoutMs: 60_000 })).toBe("http");
  });

  test("a TLS server slower than the first pause is https, though it answers plain requests with 400", async () => {
    const inner = await servers.secure();
    const origin = await servers.raw((socket) => {
      socket.once("data", (hello: Buffer) => {
        if (hello[0] !== 0x16) return void socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        setTimeout(() => {
          void Bun.connect({
            hostname: "127.0.0.1",
            port: inner.address.port,
            socket: {
              open: (upstream) => {
                upstream.write(hello);
                socket.on("data", (chunk: Buffer) => upstream.write(chunk));
              },
              data: (_upstream, chunk) => void socket.write(chunk),
            },
          });
        }, 900);
      });
    });
    expect(await ask(origin, { timeoutMs: 20_000 })).toBe("https");
  });

  test("a TLS server that refuses our handshake by an alert is https, not http", async () => {
    const origin = await servers.raw((socket) => {
      socket.once("data", (chunk: Buffer) => {
        if (chunk[0] === 0x16) socket.end(Buffer.from([0x15, 3, 1, 0, 2, 2, 112]));
        else socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
      });
    });
    expect(await ask(origin)).toBe("https");
  });

  test("a plain server whose every answer is 400 or a redirect is http", async () => {
    expect(await ask(await servers.plain((_q, r) => void r.writeHead(400).end()))).toBe("http");
    expect(await ask(await servers.plain((_q, r) => void r.writeHead(301, { location: "/x" }).end()))).toBe("http");
  });

  test("unix sockets are asked too, plain and TLS", async () => {
    const folder = mkdtempSync(join(tmpdir(), "aralez-detect-"));
    const plain = http.createServer(servers.answer200).listen(join(folder, "plain.sock"));
    const secure = Bun.serve({ unix: join(folder, "tls.sock"), tls: servers.pair, fetch: () => new Response("x") });
    try {
      expect(await detect({ unix: join(folder, "plain.sock") }, options)).toBe("http");
      expect(await detect({ unix: join(folder, "tls.sock") }, options)).toBe("https");
      await expect(detect({ unix: join(folder, "none.sock") }, options)).rejects.toThrow("no such file or socket");
    } finally {
      plain.close();
      await secure.stop(true);
      rmSync(folder, { recursive: true });
    }
  });

  test("a name with several addresses is tried by each of them", async () => {
    const origin = await servers.plain();
    const resolver = new Resolver({ lookup: async () => ["::1", "127.0.0.2", "127.0.0.1"] });
    const address = { host: "up.test", port: origin.address.port };
    expect(await detect(address, { ...options, resolver })).toBe("http");
  });
});

describe("an endpoint that cannot be asked gives a short cause", () => {
  test("nobody listens", async () => {
    const address = await servers.refused();
    await expect(detect(address, options)).rejects.toThrow(/^connection refused$/);
  });

  test("the name is unknown", async () => {
    const resolver = new Resolver({
      lookup: () => Promise.reject(Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" })),
    });
    await expect(detect({ host: "no.test", port: 1 }, { ...options, resolver })).rejects.toThrow(/^name not found$/);
  });

  test("it never answers", async () => {
    const origin = await servers.silent();
    await expect(ask(origin, { timeoutMs: 400 })).rejects.toThrow(/^timed out after 0\.4 s$/);
    await servers.until(() => origin.connections.size === 0, "all connections are closed");
  });

  test("it closes at once", async () => {
    await expect(ask(await servers.closing())).rejects.toThrow(/closed|reset/);
  });

  test("it speaks something else", async () => {
    const origin = await servers.raw((socket) => void socket.end("220 mail.test ESMTP\r\n"));
    await expect(ask(origin)).rejects.toThrow("speaks neither HTTP nor TLS");
  });

  test("the question is given up by its signal", async () => {
    const origin = await servers.silent();
    const stop = new AbortController();
    const asked = ask(origin, { signal: stop.signal, timeoutMs: 60_000 });
    await servers.until(() => origin.connections.size > 0, "it has connected");
    stop.abort();
    await expect(asked).rejects.toThrow("stopped");
    await servers.until(() => origin.connections.size === 0, "all connections are closed");
  });
});

test("detection leaves no connection open, whatever it finds", async () => {
  for (const inner of [
    await servers.plain(),
    await servers.secure(),
    await servers.h2AndH1(),
    await servers.h2Only(),
  ]) {
    const origin = await servers.relay(inner);
    await ask(origin);
    expect(origin.accepted).toBeGreaterThan(0);
    await servers.until(() => origin.connections.size === 0, "all connections are closed");
  }
});

test("the verdict prefers TLS, then HTTP/1.1, then h2c, and waits for what may still overrule it", () => {
  expect(verdict({ tls: "https", http: "yes" }, false)).toBe("https");
  expect(verdict({ http: "yes" }, false)).toBe("http");
  expect(verdict({ http: "doubtful" }, false)).toBeUndefined();
  expect(verdict({ http: "doubtful" }, true)).toBe("http");
  expect(verdict({ tls: "no", http: "doubtful" }, false)).toBe("http");
  expect(verdict({ tls: "alert", http: "doubtful" }, false)).toBe("https");
  expect(verdict({ tls: "alert", http: "yes" }, false)).toBe("http");
  expect(verdict({ tls: "alert", http: "no" }, false)).toBeUndefined();
  expect(verdict({ tls: "alert", http: "no", h2c: "no" }, false)).toBe("https");
  expect(verdict({ tls: "secure", http: "yes" }, false)).toBeUndefined();
  expect(verdict({ tls: "secure" }, true)).toBe("h2");
  expect(verdict({ tls: "no", h2c: "yes" }, false)).toBeUndefined();
  expect(verdict({ tls: "no", http: "no", h2c: "yes" }, false)).toBe("h2c");
  expect(verdict({ tls: "no", http: "no", h2c: "no" }, true)).toBeUndefined();
});
