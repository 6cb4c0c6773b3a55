/** Upstreams that break at every point of an exchange: what is sent twice, what never, and whose fault it is. */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import type { AddressInfo } from "node:net";
import { startOrigin } from "../support/origins.ts";
import { startProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

type Act =
  | "answer"
  | "reset at the head"
  | "reset inside the body"
  | "reset after the body"
  | "end after the body"
  | "reset inside the answer's head";
interface Asked {
  readonly act: Act;
  readonly body: Buffer;
}

/** Reads requests with Content-Length by hand and does to each what `next` says. */
async function startBreaking(next: () => Act) {
  const asked: Asked[] = [];
  const server = net.createServer((socket) => {
    let buffer = Buffer.alloc(0);
    let wanted = -1;
    let act: Act = "answer";
    socket.on("error", () => {});
    socket.on("data", (data) => {
      buffer = Buffer.concat([buffer, data as Buffer]);
      for (;;) {
        if (wanted < 0) {
          const end = buffer.indexOf("\r\n\r\n");
          if (end < 0) return;
          wanted = Number(/\r\ncontent-length: *(\d+)/i.exec(buffer.subarray(0, end).toString("latin1"))?.[1] ?? 0);
          buffer = buffer.subarray(end + 4);
          act = next();
        }
        if (act === "reset at the head" || (act === "reset inside the body" && buffer.length * 2 >= wanted)) {
          asked.push({ act, body: buffer });
          return void socket.resetAndDestroy();
        }
        if (buffer.length < wanted) return;
        asked.push({ act, body: buffer.subarray(0, wanted) });
        buffer = buffer.subarray(wanted);
        wanted = -1;
        if (act === "reset after the body") return void socket.resetAndDestroy();
        if (act === "end after the body") return void socket.end();
        if (act === "reset inside the answer's head")
          return void socket.write("HTTP/1.1 200 O", () => socket.resetAndDestroy());
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { address: `127.0.0.1:${port}`, asked, [Symbol.dispose]: () => void server.close() };
}

function post(method: string, body: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`${method} /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
}

const acts: Act[] = [
  "reset at the head",
  "reset inside the body",
  "reset after the body",
  "end after the body",
  "reset inside the answer's head",
];
for (const act of acts) {
  for (const kept of [false, true]) {
    for (const size of [1_000, 60_000, 3_000_000]) {
      const body = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 255));
      const connection = kept ? "a kept-alive connection" : "a fresh connection";
      const run = async (method: string) => {
        const acts: Act[] = [];
        using upstream = await startBreaking(() => acts.shift() ?? "answer");
        await using proxy = await startProxy(
          `upstreams: { a.test: { paths: { "/": { servers: ["${upstream.address}"], healthcheck: false } } } }\n`,
        );
        if (kept) await raw(proxy.port, post("GET", Buffer.alloc(0)));
        upstream.asked.length = 0;
        acts.push(act);
        const { status } = await raw(proxy.port, post(method, body));
        return { status, asked: upstream.asked };
      };
      test(`a POST of ${size} bytes is sent once when ${connection} has a ${act}`, async () => {
        const { status, asked } = await run("POST");
        expect(asked.map((one) => one.act)).toEqual([act]);
        expect(status).toBe(502);
      });
      test(`a PUT of ${size} bytes is repeated whole or not at all when ${connection} has a ${act}`, async () => {
        const { status, asked } = await run("PUT");
        if (size <= 64 * 1024) expect(status).toBe(200);
        expect(asked.length).toBeLessThanOrEqual(2);
        if (status === 200) expect(asked.at(-1)!.body.equals(body)).toBe(true);
        else expect(asked.map((one) => one.act)).toEqual([act]);
      });
    }
  }
}

describe("an upload that its client leaves half-sent", () => {
  const limits = [
    { idle: 1, body: 1 },
    { idle: 1, body: 3 },
  ];
  for (const { idle, body } of limits) {
    test(`is the client's fault (408) and puts no server aside: idle ${idle}, client_timeouts.body ${body}`, async () => {
      await using a = await startOrigin();
      await using b = await startOrigin();
      const rules = `timeouts: { idle: ${idle} }\nfail_timeout: 30\nupstreams: { a.test: { paths: { "/": { servers: ["${a.address}", "${b.address}"] } } } }\n`;
      await using proxy = await startProxy(rules, { client_timeouts: { header: 10, body, idle: 75, write: 60 } });
      const half = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc";
      const answers = await Promise.all(Array.from({ length: 8 }, () => raw(proxy.port, half, 20_000)));
      expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(408));
      await proxy.logged(/408 POST/);
      expect(proxy.log()).not.toMatch(/put aside/);
    });
  }
});
