/** Large and long bodies, broken ones, and many connections: what passes through leaves nothing behind. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { long, mebibytes, memoryBytes, openFiles } from "../support/programs.ts";
import { startProxyProcess, type ProxyProcess } from "../support/proxy-process.ts";
import { until } from "../support/proxy.ts";

setDefaultTimeout(long ? 300_000 : 90_000);

const MIB = 1024 * 1024;
const bodyBytes = (long ? 1024 : 256) * MIB;
const peakMBMax = 120;

let origin: Server;
/** Connections to the origin that are open. */
const open = new Set<Socket>();
/** What the last upload brought. */
let uploaded = { bytes: 0, wrong: 0 };

/** Every large body repeats it, with a period that no buffer size shares: a slip by one byte anywhere shows. */
const pattern = Buffer.from(Array.from({ length: 251 * 1024 }, (_, at) => at % 251));

/** @returns how many of these bytes, which follow `from` others, are wrong: 0 or 1 and more */
function wrongIn(chunk: Uint8Array, from: number): number {
  for (let at = 0; at < chunk.length;) {
    const start = (from + at) % 251;
    const bytes = Math.min(chunk.length - at, pattern.length - start);
    if (Buffer.compare(chunk.subarray(at, at + bytes), pattern.subarray(start, start + bytes)) !== 0) return 1;
    at += bytes;
  }
  return 0;
}

/** Writes `bytes` of the pattern as fast as they are taken. */
async function pour(socket: Socket, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes;) {
    const block = pattern.subarray(0, Math.min(pattern.length, bytes - sent));
    sent += block.length;
    if (socket.destroyed) return;
    if (socket.write(block)) continue;
    await new Promise<void>((resolve) => {
      const go = () => {
        socket.off("drain", go).off("close", go);
        resolve();
      };
      socket.on("drain", go).on("close", go);
    });
  }
}

/** A request as this origin sees it: by hand, so that a body can end in any way. */
async function answer(socket: Socket, target: string): Promise<void> {
  const url = new URL(target, "http://origin");
  const head = (line: string, ...fields: string[]) => socket.write([line, ...fields, "", ""].join("\r\n"));
  if (url.pathname === "/down") {
    const bytes = Number(url.searchParams.get("bytes") ?? bodyBytes);
    head("HTTP/1.1 200 OK", `Content-Length: ${bytes}`);
    await pour(socket, bytes);
  } else if (url.pathname === "/die") {
    const framing = url.searchParams.get("framing");
    if (framing === "length") head("HTTP/1.1 200 OK", "Content-Length: 2000000");
    else head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked");
    const part = Buffer.alloc(Number(url.searchParams.get("bytes")), "x");
    const bytes =
      framing === "length"
        ? part
        : Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]);
    socket.write(bytes, () => (url.searchParams.get("how") === "reset" ? socket.resetAndDestroy() : socket.end()));
  } else if (url.pathname === "/events") {
    head("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked");
    for (let n = 0; n < 100 && !socket.destroyed; n++) {
      await Bun.sleep(10);
      const event = `data: ${performance.timeOrigin + performance.now()}\n\n`;
      socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
    }
    socket.write("0\r\n\r\n");
  } else {
    head("HTTP/1.1 200 OK", "Content-Length: 2");
    socket.write("ok");
  }
}

function serve(socket: Socket): void {
  open.add(socket);
  socket.on("error", () => {});
  socket.on("close", () => open.delete(socket));
  let head = "";
  let left = 0;
  let slowly = false;
  socket.on("data", (data) => {
    let chunk = data as Buffer;
    if (left === 0) {
      head += chunk.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const [line = ""] = head.split("\r\n");
      const [method = "", target = "/"] = line.split(" ");
      left = Number(/\r\ncontent-length: *(\d+)/i.exec(head.slice(0, end))?.[1] ?? 0);
      chunk = Buffer.from(head.slice(end + 4), "latin1");
      head = "";
      if (method !== "PUT") return void answer(socket, target);
      uploaded = { bytes: 0, wrong: 0 };
      slowly = target === "/slow";
    }
    // Every 4 MiB a pause, long enough for all buffers on the way to fill.
    if (slowly && Math.floor(uploaded.bytes / (4 * MIB)) !== Math.floor((uploaded.bytes + chunk.length) / (4 * MIB))) {
      socket.pause();
      setTimeout(() => socket.resume(), 20);
    }
    uploaded.wrong += wrongIn(chunk, uploaded.bytes);
    uploaded.bytes += chunk.length;
    left -= chunk.length;
    if (left === 0) socket.write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  });
}

let proxy: ProxyProcess;
const address = () => `127.0.0.1:${(origin.address() as AddressInfo).port}`;
const rules = () => `upstreams: { DEFAULT: { paths: { "/": { servers: ["${address()}"] } } } }\n`;

beforeAll(async () => {
  origin = createServer(serve);
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", 4096, resolve));
  proxy = await startProxyProcess(rules());
});

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  for (const socket of open) socket.destroy();
  await new Promise<void>((resolve) => origin.close(() => resolve()));
});

/** Sends a head and reads until the connection ends or `enough` says so. */
function talk(head: string, options: { onData?: (chunk: Buffer) => void; enough?: (bytes: number) => boolean } = {}) {
  return new Promise<{ head: string; body: number; wrong: number; text: string; ended: "end" | "reset" }>(
    (resolve, reject) => {
      const socket = connect(proxy.port, "127.0.0.1", () => socket.write(head));
      const seen = { head: "", body: 0, wrong: 0, text: "" };
      let start = Buffer.alloc(0);
      let ended: "end" | "reset" = "end";
      socket.on("data", (data) => {
        let chunk = data as Buffer;
        if (seen.head === "") {
          start = Buffer.concat([start, chunk]);
          const end = start.indexOf("\r\n\r\n");
          if (end < 0) return;
          seen.head = start.subarray(0, end).toString("latin1");
          chunk = start.subarray(end + 4);
        }
        seen.body += chunk.length;
        seen.text = (seen.text + chunk.toString("latin1").slice(-32)).slice(-32);
        options.onData?.(chunk);
        if (options.enough?.(seen.body)) socket.destroy();
      });
      socket.on("error", (error: NodeJS.ErrnoException) =>
        error.code === "ECONNRESET" ? (ended = "reset") : reject(error),
      );
      socket.on("close", () => resolve({ ...seen, ended }));
    },
  );
}

/** Sends a body of the pattern with Content-Length. @returns the status line */
function upload(port: number, target: string, bytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(`PUT ${target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${bytes}\r\n\r\n`);
      void pour(socket, bytes);
    });
    let text = "";
    socket.on("data", (data) => {
      text += data;
      if (!text.includes("\r\n\r\n")) return;
      socket.destroy();
      resolve(text.split("\r\n")[0]!);
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed after ${uploaded.bytes} bytes: ${text}`)));
  });
}

/** Downloads by fetch, which takes the transfer coding off. @param pause called after every chunk */
async function download(url: string, pause: (bytes: number) => Promise<void> | void = () => {}) {
  const answer = await fetch(url);
  const seen = { status: answer.status, bytes: 0, wrong: 0 };
  for await (const chunk of answer.body!) {
    seen.wrong += wrongIn(chunk, seen.bytes);
    seen.bytes += chunk.length;
    await pause(seen.bytes);
  }
  return seen;
}

describe(`bodies of ${bodyBytes / MIB} MiB`, () => {
  test(`go up and come down unchanged with less than ${peakMBMax} MB of the proxy's memory`, async () => {
    await using own = await startProxyProcess(rules());
    const idle = memoryBytes(own.pid, "VmRSS");

    const down = await download(`${own.url}/down`);
    const afterDown = memoryBytes(own.pid, "VmHWM");
    expect(down).toEqual({ status: 200, bytes: bodyBytes, wrong: 0 });

    const status = await upload(own.port, "/up", bodyBytes);
    const peak = memoryBytes(own.pid, "VmHWM");
    console.log(
      `${bodyBytes / MIB} MiB each way: ${mebibytes(idle)} before, peak ${mebibytes(afterDown)} after down, ${mebibytes(peak)} after up`,
    );
    expect([status, uploaded.bytes, uploaded.wrong]).toEqual(["HTTP/1.1 201 Created", bodyBytes, 0]);
    expect(peak / 1e6).toBeLessThan(peakMBMax);
    expect(own.faults()).toBe("");
  });

  test("or less go up and come down unchanged where a side is slow", async () => {
    const bytes = 48 * MIB;
    let next = 0;
    const down = await download(`${proxy.url}/down?bytes=${bytes}`, async (seen) => {
      if (seen < next) return;
      next = seen + 4 * MIB;
      await Bun.sleep(20);
    });
    expect(down).toEqual({ status: 200, bytes, wrong: 0 });
    const status = await upload(proxy.port, "/slow", bytes);
    expect([status, uploaded]).toEqual(["HTTP/1.1 201 Created", { bytes, wrong: 0 }]);
  });

  test("come down to a client that does not read without filling the proxy's memory", async () => {
    await using own = await startProxyProcess(rules());
    const before = open.size;
    const sockets = await Promise.all(
      Array.from(
        { length: 10 },
        () =>
          new Promise<Socket>((resolve, reject) => {
            const socket = connect(own.port, "127.0.0.1", () => {
              socket.pause();
              socket.write("GET /down HTTP/1.1\r\nHost: a.test\r\n\r\n");
              resolve(socket);
            });
            socket.on("error", reject);
          }),
      ),
    );
    // Settled: the origin's writes have stopped, since nothing is taken any more.
    let written = -1;
    await until(async () => {
      const total = [...open].reduce((sum, socket) => sum + socket.bytesWritten, 0);
      const still = total === written && open.size >= 10;
      written = total;
      await Bun.sleep(150);
      return still;
    }, "the transfer to stall");
    const peak = memoryBytes(own.pid, "VmHWM");
    for (const socket of sockets) socket.destroy();
    console.log(`10 clients that do not read: peak ${mebibytes(peak)}`);
    expect(peak / 1e6).toBeLessThan(peakMBMax);
    await until(() => open.size <= before + 1, "the upstream connections to be closed");
    // It goes on: a loop that never ends would look like peace until now.
    expect((await fetch(`${own.url}/down?bytes=1`, { signal: AbortSignal.timeout(10_000) })).status).toBe(200);
  });
});

test("an event reaches the client at once", async () => {
  const latenciesMs: number[] = [];
  const answer = await fetch(`${proxy.url}/events`);
  let rest = "";
  for await (const text of answer.body!.pipeThrough(
    new TextDecoderStream() as never,
  ) as unknown as AsyncIterable<string>) {
    const now = performance.timeOrigin + performance.now();
    const events = (rest + text).split("\n\n");
    rest = events.pop()!;
    for (const event of events) latenciesMs.push(now - Number(event.slice("data: ".length)));
  }
  expect(latenciesMs).toHaveLength(100);
  latenciesMs.sort((a, b) => a - b);
  console.log(`100 events: median ${latenciesMs[50]!.toFixed(1)} ms, slowest ${latenciesMs[99]!.toFixed(1)} ms`);
  // Held back until the end they would be seconds late, most of them.
  expect(latenciesMs[50]!).toBeLessThan(500);
  expect(latenciesMs[99]!).toBeLessThan(10_000);
});

describe("an upstream that dies inside its body", () => {
  test.each([
    ["length", "end", 1_000_000],
    ["length", "reset", 1_000_000],
    ["length", "end", 10],
    ["length", "reset", 10],
    ["chunked", "end", 1_000_000],
    ["chunked", "reset", 1_000_000],
    ["chunked", "end", 10],
    ["chunked", "reset", 10],
  ] as const)(
    "(%s, %s, after %i bytes) ends the client's connection, and the answer never looks complete",
    async (framing, how, bytes) => {
      const seen = await talk(`GET /die?framing=${framing}&how=${how}&bytes=${bytes} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
      expect(seen.text.endsWith("0\r\n\r\n")).toBe(false);
      const length = /\r\ncontent-length: (\d+)/i.exec(seen.head)?.[1];
      if (length !== undefined && / 200 /.test(seen.head)) expect(seen.body).toBeLessThan(Number(length));
      // The next client is served as if nothing had happened.
      expect((await fetch(`${proxy.url}/small`)).status).toBe(200);
    },
  );
});

test("a client that leaves in the middle frees its upstream connection", async () => {
  const [before, files] = [open.size, openFiles(proxy.pid)];
  await Promise.all(
    Array.from({ length: 20 }, () =>
      talk("GET /down HTTP/1.1\r\nHost: a.test\r\n\r\n", { enough: (bytes) => bytes > MIB }),
    ),
  );
  await until(() => open.size <= before, "the upstream connections to be closed");
  await until(() => openFiles(proxy.pid) <= files + 5, "the proxy's descriptors to be as few as before");
});

test("10,000 connections, each for one request, leave memory and descriptors where they were", async () => {
  const rounds = 10;
  const each = 1_000;
  const one = () => talk("GET /small HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  const figures: { rss: number; files: number }[] = [];
  let faults = 0;
  for (let round = 0; round < rounds; round++) {
    for (let done = 0; done < each; done += 50) {
      for (const { head } of await Promise.all(Array.from({ length: 50 }, one)))
        if (!head.startsWith("HTTP/1.1 200 ")) faults++;
    }
    figures.push({ rss: memoryBytes(proxy.pid, "VmRSS"), files: openFiles(proxy.pid) });
  }
  const [second, last] = [figures[1]!, figures[rounds - 1]!];
  console.log(
    `${rounds * each} connections: after 2,000 ${mebibytes(second.rss)} and ${second.files} files, after ${rounds * each} ${mebibytes(last.rss)} and ${last.files} files`,
  );
  expect(faults).toBe(0);
  await until(() => openFiles(proxy.pid) <= figures[0]!.files + 10, "the descriptors to be as few as before");
  expect((last.rss - second.rss) / MIB).toBeLessThan(48);
  expect(proxy.faults()).toBe("");
});

test("2,000 connections that never send a request, or half of one, leave no descriptor behind", async () => {
  const before = openFiles(proxy.pid);
  for (let turn = 0; turn < 20; turn++) {
    const sockets = await Promise.all(
      Array.from(
        { length: 100 },
        (_, i) =>
          new Promise<Socket>((resolve, reject) => {
            const socket = connect(proxy.port, "127.0.0.1", () => {
              if (i % 2 === 0) socket.write("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf");
              resolve(socket);
            });
            socket.on("error", reject);
          }),
      ),
    );
    for (const [i, socket] of sockets.entries()) {
      if (i % 3 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
  }
  await until(() => openFiles(proxy.pid) <= before + 10, "the descriptors to be as few as before");
  expect((await fetch(`${proxy.url}/small`)).status).toBe(200);
});
