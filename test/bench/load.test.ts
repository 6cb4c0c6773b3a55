/** The load generators: what they say is read, what they send is valid, and a wrong answer never counts as one. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { listenEcho } from "../../bench/echo.ts";
import { Latencies } from "../../bench/load/latencies.ts";
import { luaScript } from "../../bench/load/lua.ts";
import { parseH2loadLog } from "../../bench/load/h2load-output.ts";
import { parseLoad } from "../../bench/load/result.ts";
import { variedRequests } from "../../bench/load/varied.ts";
import { scenarios } from "../../bench/scenarios.ts";
import { responseLines, smallBody } from "../../bench/site.ts";

const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

describe("readings", () => {
  test("a generator's result is the last line of JSON, in microseconds", () => {
    const line = '{"requests":1000,"us":2000000,"p50":850,"p99":12500,"p999":20000,"errors":3}';
    const expected = { requests: 1000, seconds: 2, p50Ms: 0.85, p99Ms: 12.5, p999Ms: 20, errors: 3 };
    expect(parseLoad(`Running 2s test\n  {odd}\n1000 requests in 2.00s\n${line}\n`)).toEqual(expected);
    expect(parseLoad(line.replace("}", ',"stall":1500}')).stallMs).toBe(1.5);
    expect(() => parseLoad("unable to connect")).toThrow("expected a line of JSON");
    expect(() => parseLoad(line.replace("1000", "0").replace("}", ',"why":"refused"}'))).toThrow(
      "no answer at all (3 errors: refused)",
    );
  });

  test("h2load's log gives percentiles of what began after the connects, and failures count", () => {
    const rows = Array.from({ length: 1000 }, (_, i) => `${5_000_000 + i * 2000}\t200\t${i + 1}`);
    const paced = parseH2loadLog([...rows, "5000000\t-1\t9", "6500000\t503\t9"].join("\n"), 1);
    // The first second holds 500 of the rows; the rest took 501 to 1,000 µs.
    expect(paced).toMatchObject({ requests: 1002, errors: 2, p50Ms: 0.75, p99Ms: 0.995, p999Ms: 1 });
    expect(paced.requestsPerSecond).toBeCloseTo(501 / 0.998, 3);
    expect(() => parseH2loadLog("5000000\t-1\t9\n", 0)).toThrow("no answer at all (1 requests)");
  });

  test("latencies are counted in steps of 10 µs", () => {
    const latencies = new Latencies();
    for (let ms = 1; ms <= 100; ms++) latencies.add(ms);
    latencies.add(1e9);
    expect(latencies.total).toBe(101);
    expect([0.5, 0.99].map((share) => latencies.percentileUs(share))).toEqual([51_010, 100_010]);
    expect(new Latencies().percentileUs(0.5)).toBe(0);
  });
});

describe("requests", () => {
  test("varied ones are all different, valid, and the same in every run", () => {
    const requests = variedRequests(500);
    expect(new Set(requests).size).toBe(500);
    expect(variedRequests(500)).toEqual(requests);
    for (const request of requests) {
      expect(request).toMatch(
        /^GET \/[\x21-\x7e]*\/?small(\?[\x21-\x7e]*)? HTTP\/1\.1\r\nHost: host-\d+\.bench\.test\r\n/,
      );
      expect(request).toMatch(/^(?:[\x20-\x7e]+\r\n)+\r\n$/);
      const names = [...request.matchAll(/^([\w-]+): /gm)].map(([, name]) => name);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  test("wrk's script holds the method, every header line and the body's size", () => {
    const script = luaScript(scenarios["upload-1m"]!);
    expect(script).toContain('wrk.method = "POST"');
    expect(script).toContain('wrk.headers["Content-Type"] = "application/octet-stream"');
    expect(script).toContain('string.rep("x", 1048576)');
    expect(luaScript(scenarios.varied!)).toContain("function request()");
  });
});

describe("WebSocket", () => {
  const upgrade = "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";

  test("the echo server gives back every message, masked or not by zero, in whatever pieces it comes", async () => {
    const port = echo();
    const payload = Buffer.from("0123456789".repeat(30));
    const mask = Buffer.from([1, 2, 3, 4]);
    const masked = Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]!));
    const frame = Buffer.concat([Buffer.from([0x82, 0x80 | 126, 1, 44]), mask, masked]);
    const expected = Buffer.concat([Buffer.from([0x82, 126, 1, 44]), payload]);
    for (const piece of [1, 7, 1000]) {
      const { sent, got } = await dial(port);
      sent(`${upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
      const head = await got((bytes) => bytes.includes("\r\n\r\n"));
      expect(head.toString()).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
      const frames = Buffer.concat([frame, frame]);
      for (let at = 0; at < frames.length; at += piece) {
        sent(frames.subarray(at, at + piece));
        if (piece === 7) await Bun.sleep(0);
      }
      const all = await got((bytes) => bytes.length >= head.length + 2 * expected.length);
      expect(all.subarray(head.length)).toEqual(Buffer.concat([expected, expected]));
    }
  });

  test("its generator counts messages, and knows a connection that makes no progress", async () => {
    const result = await client("websocket", { port: front(echo()), host: "x", target: "/echo", messageBytes: 300 });
    expect(result.code).toBe(0);
    const found = parseLoad(result.out);
    expect(found.requests).toBeGreaterThan(10);
    expect(found.errors).toBe(0);
    expect(found.stallMs).toBeGreaterThan(0);
  });

  test("its generator refuses a proxy that does not add its header lines", async () => {
    const { code, err } = await client("websocket", { port: echo(), host: "x", target: "/echo", messageBytes: 64 });
    expect(code).toBe(1);
    expect(err).toContain("no X-Content-Type-Options in the answer");
  });
});

describe("a connection per request", () => {
  test("comes from several addresses; only the whole small answer counts", async () => {
    const sources = new Set<string>();
    let served = 0;
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket) {
          sources.add(socket.remoteAddress);
          const whole = ++served % 10 > 0;
          socket.end(`HTTP/1.1 200 OK\r\n\r\n${whole ? smallBody : smallBody.slice(0, 9)}`);
        },
      },
    });
    closing.push(() => listener.stop(true));
    const { code, out } = await client("connect", { port: listener.port, host: "x", target: "/", messageBytes: 0 });
    expect(code).toBe(0);
    const { requests, errors } = parseLoad(out);
    expect(errors).toBeGreaterThan(0);
    expect(requests).toBeGreaterThan(5 * errors);
    expect([...sources].sort()).toEqual(Array.from({ length: 16 }, (_, i) => `127.0.0.${i + 2}`).sort());
  });
});

function echo(): number {
  const { port, stop } = listenEcho(0);
  closing.push(stop);
  return port;
}

/** A proxy of the simplest kind: adds the lines to the first answer, and passes everything else on. */
function front(originPort: number): number {
  const listener = Bun.listen<{ origin: Promise<Bun.Socket> }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(client) {
        let first = true;
        const origin = Bun.connect({
          hostname: "127.0.0.1",
          port: originPort,
          socket: {
            data(_, chunk) {
              const lines = responseLines.map(([name, value]) => `\r\n${name}: ${value}`).join("");
              client.write(first ? chunk.toString("latin1").replace("\r\n\r\n", `${lines}\r\n\r\n`) : chunk);
              first = false;
            },
          },
        });
        client.data = { origin };
      },
      data: async (client, chunk) => void (await client.data.origin).write(chunk),
      close: async (client) => void (await client.data.origin).terminate(),
    },
  });
  closing.push(() => listener.stop(true));
  return listener.port;
}

/** A connection on which bytes are sent, and waited for. */
async function dial(port: number) {
  let all = Buffer.alloc(0);
  let arrived = () => {};
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(_, chunk) {
        all = Buffer.concat([all, chunk]);
        arrived();
      },
    },
  });
  closing.push(() => socket.terminate());
  return {
    sent: (data: string | Buffer) => socket.write(data),
    async got(enough: (bytes: Buffer) => boolean): Promise<Buffer> {
      while (!enough(all)) await new Promise<void>((resolve) => (arrived = resolve));
      return all;
    },
  };
}

async function client(name: string, options: object) {
  const program = join(import.meta.dir, `../../bench/load/${name}.ts`);
  const child = Bun.spawn([process.execPath, program, JSON.stringify({ ...options, seconds: 1, connections: 20 })], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, out, err };
}
