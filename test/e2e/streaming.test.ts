/** Bodies both ways: exact, streamed, with backpressure, cut when the other side is cut. */
import { describe, expect, test } from "bun:test";
import { METHODS } from "node:http";
import { once } from "node:events";
import net from "node:net";
import { echo, startOrigin, startRawOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const rules = (address: string, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"]${more && `, ${more}`} } } } }`;
const headers = { Host: "a.test" };

describe("a body", () => {
  for (const size of [0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 3_000_000]) {
    test(`of ${size} bytes arrives whole, both ways`, async () => {
      await using up = await startOrigin(async (request, response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        const body = Buffer.concat(chunks);
        response.setHeader("Content-Length", body.length);
        response.end(body);
      });
      await using proxy = await startProxy(rules(up.address));
      const body = crypto.getRandomValues(new Uint8Array(Math.min(size, 65_536)));
      const whole = Buffer.concat(Array.from({ length: Math.ceil(size / 65_536) }, () => body)).subarray(0, size);
      const response = await fetch(proxy.url, { method: "POST", headers, body: whole });
      expect(response.status).toBe(200);
      expect(Buffer.from(await response.arrayBuffer()).equals(whole)).toBe(true);
      if (size <= 64 * 1024) expect(response.headers.get("content-length")).toBe(String(size));
    });
  }
  test("without a known length is chunked both ways", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address));
    const answer = await raw(
      proxy.port,
      "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    expect(answer.status).toBe(200);
    expect(up.requests[0]!.body.toString()).toBe("hello");
    expect(up.requests[0]!.headers["transfer-encoding"]).toBe("chunked");
  });
  test("with a Content-Length keeps it upstream", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address));
    await raw(proxy.port, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    expect(up.requests[0]!.headers["content-length"]).toBe("5");
    expect(up.requests[0]!.headers["transfer-encoding"]).toBeUndefined();
  });
  test("of an encoding is passed on untouched", async () => {
    const packed = Bun.gzipSync(Buffer.from("hello"));
    await using up = await startOrigin(
      (_, response) =>
        void response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": packed.length }).end(packed),
    );
    await using proxy = await startProxy(rules(up.address));
    const response = await fetch(proxy.url, { headers, decompress: false } as RequestInit);
    expect(response.headers.get("content-encoding")).toBe("gzip");
    expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.from(packed))).toBe(true);
  });
  test("HEAD keeps the upstream's Content-Length and has no body; without one it gets no false zero", async () => {
    await using up = await startOrigin((request, response) => {
      if (request.url === "/known") response.setHeader("Content-Length", 12_345);
      else response.setHeader("Transfer-Encoding", "chunked");
      response.end();
    });
    await using proxy = await startProxy(rules(up.address));
    const known = await raw(proxy.port, "HEAD /known HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect(known.fields).toContainEqual(["content-length", "12345"]);
    const unknown = await raw(proxy.port, "HEAD /unknown HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect(unknown.fields.filter(([name]) => name === "content-length")).toEqual([]);
  });
  for (const status of [204, 304]) {
    test(`${status} has none`, async () => {
      await using up = await startOrigin((_, response) => void response.writeHead(status, { ETag: '"x"' }).end());
      await using proxy = await startProxy(rules(up.address));
      const answer = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
      expect(answer.status).toBe(status);
      expect(answer.body).toBe("");
      expect(answer.fields).toContainEqual(["etag", '"x"']);
    });
  }
});

test("every method reaches the upstream as it is, or is refused", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address, "healthcheck: false"));
  for (const method of METHODS) {
    const before = up.requests.length;
    const answer = await raw(
      proxy.port,
      `${method} /m HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      2000,
    );
    if (answer.status === 200 && up.requests.length > before) expect(up.requests.at(-1)!.method).toBe(method);
    else expect([0, 200, 400, 405, 501]).toContain(answer.status);
  }
  expect(new Set(up.requests.map((seen) => seen.method)).size).toBeGreaterThan(8);
}, 60_000);

describe("a stream", () => {
  test("an event reaches the client when it is sent, hours-long silence within `stream` is allowed", async () => {
    let send: (text: string) => void = () => {};
    await using up = await startOrigin((_, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write(": hello\n\n");
      send = (text) => void response.write(text);
    });
    await using proxy = await startProxy(rules(up.address, "timeouts: { idle: 0.2, stream: 60 }"));
    const response = await fetch(proxy.url, { headers });
    const reader = response.body!.getReader();
    await reader.read();
    await Bun.sleep(600);
    const sentAt = performance.now();
    send("data: 1\n\n");
    const { value } = await reader.read();
    const tookMs = performance.now() - sentAt;
    expect(Buffer.from(value!).toString()).toBe("data: 1\n\n");
    console.log(`an SSE event took ${tookMs.toFixed(1)} ms`);
    expect(tookMs).toBeLessThan(500);
    await reader.cancel();
  });
  test("the upstream learns that the client has left, before and after the answer's head", async () => {
    let closed = 0;
    await using up = await startOrigin((request, response) => {
      request.socket.on("close", () => closed++);
      if (request.url === "/late") return;
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("data: x\n\n");
    });
    await using proxy = await startProxy(rules(up.address));
    for (const path of ["/late", "/stream"]) {
      const before = closed;
      const socket = net.connect(proxy.port, "127.0.0.1");
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
      if (path === "/stream") await new Promise((resolve) => socket.once("data", resolve));
      else await until(() => up.connections > 0 && up.requests !== undefined && Bun.sleep(100).then(() => true));
      socket.destroy();
      await until(() => closed > before, `the upstream to notice on ${path}`);
    }
  });
  test("killing the upstream inside a body aborts the client's connection", async () => {
    await using up = await startRawOrigin((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
      socket.write(Buffer.alloc(200_000));
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    await using proxy = await startProxy(rules(up.address, "healthcheck: false"));
    const answer = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect(answer.ended).not.toBe("open");
    expect(answer.body).not.toEndWith("0\r\n\r\n");
  });
  test("a client that does not read stops the upstream, in bounded memory", async () => {
    const total = 256 * 1024 * 1024;
    let sent = 0;
    await using up = await startOrigin(async (_, response) => {
      response.writeHead(200, { "Content-Length": total });
      const chunk = Buffer.alloc(256 * 1024);
      const gone = once(response, "close");
      while (sent < total && !response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) await Promise.race([once(response, "drain"), gone]);
      }
    });
    await using proxy = await startProxy(rules(up.address));
    const socket = net.connect(proxy.port, "127.0.0.1");
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    await until(() => sent > 0);
    let last = -1;
    await until(async () => {
      const steady = sent === last;
      last = sent;
      await Bun.sleep(300);
      return steady;
    }, "the upstream to be stopped");
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    socket.destroy();
  });
  test("a slow upstream stops a fast upload", async () => {
    let taken: net.Socket | undefined;
    await using up = await startRawOrigin((socket) => {
      taken = socket;
      socket.pause();
    });
    await using proxy = await startProxy(rules(up.address, "healthcheck: false, timeouts: { idle: 3 }"));
    const socket = net.connect(proxy.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 268435456\r\n\r\n");
    const chunk = Buffer.alloc(1024 * 1024);
    let queued = 0;
    while (queued < 256 && socket.write(chunk)) queued++;
    for (; queued < 256; queued++) {
      const more = await Promise.race([
        new Promise((resolve) => socket.once("drain", () => resolve(true))),
        Bun.sleep(1500).then(() => false),
      ]);
      if (!more) break;
      socket.write(chunk);
    }
    expect(queued).toBeLessThan(64);
    socket.destroy();
    await until(() => taken!.destroyed || (taken!.resume(), false), "the upload to be given up");
  });
});

test("a head-of-line answer: 20 requests on one connection, one after another", async () => {
  await using up = await startOrigin(echo());
  await using proxy = await startProxy(rules(up.address));
  const socket = net.connect(proxy.port, "127.0.0.1");
  for (let i = 0; i < 20; i++) {
    socket.write(`GET /${i} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
    const text = await new Promise<string>((resolve) => socket.once("data", (data) => resolve(data.toString())));
    expect(text).toContain(`"target":"/${i}"`);
  }
  socket.destroy();
});

test("an answer that ends with its connection arrives whole at a slow client, and the next request has a connection", async () => {
  const body = Buffer.alloc(5_000_000, "x");
  await using up = await startRawOrigin((socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    socket.end(body);
  });
  await using proxy = await startProxy(rules(up.address, "healthcheck: false"));
  for (let i = 0; i < 3; i++) {
    const socket = net.connect(proxy.port, "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    let bytes = 0;
    socket.on("data", (data) => {
      bytes += data.length;
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
    await once(socket, "close");
    expect(bytes).toBeGreaterThan(body.length);
  }
});

describe("chunked bodies in whole buffers, whose memory is given back as they go out", () => {
  test("arrive byte for byte, down and up, at peers that read slowly", async () => {
    const chunk = Buffer.alloc(65_536, "0123456789abcdef");
    const total = 400;
    await using up = await startRawOrigin((socket, data) => {
      if (!data.toString("latin1", 0, 4).startsWith("GET")) return;
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n");
      // Size lines travel apart from the data, so that whole buffers hold nothing but data.
      let sent = 0;
      const next = () => {
        if (sent === total) return void socket.end("0\r\n\r\n");
        sent++;
        socket.write(chunk, () =>
          socket.write(sent === total ? "\r\n" : "\r\n10000\r\n", () => setTimeout(next, sent % 50 ? 0 : 5)),
        );
      };
      next();
    });
    await using proxy = await startProxy(rules(up.address, "healthcheck: false"));
    const response = await fetch(proxy.url, { headers });
    let bytes = 0;
    const hash = new Bun.CryptoHasher("sha1");
    for await (const part of response.body!) {
      bytes += part.length;
      hash.update(part);
      if (bytes % 7 === 0) await Bun.sleep(1);
    }
    const expected = new Bun.CryptoHasher("sha1");
    for (let i = 0; i < total; i++) expected.update(chunk);
    expect(bytes).toBe(total * chunk.length);
    expect(hash.digest("hex")).toBe(expected.digest("hex"));
  });
  test("leave the proxy at peace when the client goes away", async () => {
    await using up = await startOrigin(async (_, response) => {
      const chunk = Buffer.alloc(1024 * 1024);
      while (!response.destroyed)
        if (!response.write(chunk)) await Promise.race([once(response, "drain"), once(response, "close")]);
    });
    await using proxy = await startProxy(rules(up.address, "healthcheck: false"));
    for (let i = 0; i < 5; i++) {
      const socket = net.connect(proxy.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
      let bytes = 0;
      await new Promise<void>((resolve) =>
        socket.on("data", (data) => ((bytes += data.length), bytes > 20_000_000 && resolve())),
      );
      socket.pause();
      await Bun.sleep(50);
      socket.destroy();
    }
  });
});
