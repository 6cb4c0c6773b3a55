/** Floods of HTTP/2: each is stopped soon, costs few exchanges, and no other client notices. */
import { describe, expect, test } from "bun:test";
import type { Reply } from "../../src/data/exchange.ts";
import * as h2 from "../../src/data/wire/http2/protocol.ts";
import { http2BlockFramesMax, http2TokensMax } from "../../src/lib/limits.ts";
import { frame, get, Http2Peer, post, settings, uint32 } from "../support/http2-peer.ts";
import { say, startHttp2Site } from "../support/http2-site.ts";
import { memoryBytes } from "../support/programs.ts";
import { until } from "../support/proxy.ts";
import { startProxyProcess } from "../support/proxy-process.ts";

/** Frames by turn: what one round of the flood sends. */
type Flood = (peer: Http2Peer, round: number) => Buffer;

const odd = (round: number) => 2 * round + 1;

const floods: Record<string, Flood> = {
  "rapid reset (CVE-2023-44487)": (peer, round) =>
    Buffer.concat([peer.headers(odd(round), get), frame(h2.RST_STREAM, 0, odd(round), uint32(h2.CANCEL))]),
  "provoked reset: window updates by nothing (CVE-2025-8671)": (peer, round) =>
    Buffer.concat([peer.headers(odd(round), get), frame(h2.WINDOW_UPDATE, 0, odd(round), uint32(0))]),
  "provoked reset: malformed requests": (peer, round) =>
    frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, odd(round), peer.raw([[":method", "GET"]])),
  "provoked reset: DATA behind its end": (peer, round) =>
    Buffer.concat([peer.headers(odd(round), get), peer.data(odd(round), "x")]),
  SETTINGS: () => settings([h2.INITIAL_WINDOW_SIZE, 65_535]),
  PING: () => frame(h2.PING, 0, 0, Buffer.alloc(8)),
  PRIORITY: () => frame(h2.PRIORITY, 0, 1, Buffer.alloc(5)),
  "unknown frames": () => frame(200, 0, 0),
  "empty DATA": (peer, round) => (round === 0 ? peer.headers(1, post, false) : peer.data(1, "")),
  "window updates of one byte": () => frame(h2.WINDOW_UPDATE, 0, 0, uint32(1)),
};

describe("floods", () => {
  for (const [name, flood] of Object.entries(floods)) {
    test(`${name}`, async () => {
      let asked = 0;
      await using site = await startHttp2Site(async (exchange): Promise<Reply> => {
        asked++;
        if (exchange.target === "/other") return say("fine");
        // An upstream that takes its time.
        await Bun.sleep(20);
        return say("late");
      });
      await using other = await Http2Peer.connect(site.port);
      await using peer = await Http2Peer.connect(site.port);
      let stream = 1;
      const askOther = async () => {
        other.send(other.headers(stream, [...get.slice(0, 2), [":path", "/other"], get[3]!]));
        expect((await other.answer(stream)).body).toBe("fine");
        stream += 2;
      };
      await askOther();
      for (let round = 0; round < 100_000 && !peer.ended && !peer.socket.destroyed;) {
        for (let i = 0; i < 500; i++) peer.send(flood(peer, round++));
        await Bun.sleep(0);
        if (peer.frames.some(({ type }) => type === h2.GOAWAY)) break;
      }
      expect(await peer.goaway()).toBe("ENHANCE_YOUR_CALM");
      await askOther();
      expect(asked).toBeLessThan(http2TokensMax);
      expect(site.faults).toEqual([]);
    });
  }

  test("CONTINUATION without end", async () => {
    await using site = await startHttp2Site(() => say("must not be asked"));
    await using peer = await Http2Peer.connect(site.port);
    peer.send(frame(h2.HEADERS, h2.END_STREAM, 1, peer.block(get)));
    for (let i = 0; i < http2BlockFramesMax; i++) peer.send(frame(h2.CONTINUATION, 0, 1, Buffer.from([0x82])));
    expect(await peer.goaway()).toBe("ENHANCE_YOUR_CALM");
    expect(site.endings).toEqual([]);
  });

  test("a client with small windows that it opens in time is none", async () => {
    await using site = await startHttp2Site(() => say("x".repeat(6_000)));
    await using peer = await Http2Peer.connect(site.port, Http2Peer.greeting([h2.INITIAL_WINDOW_SIZE, 20]));
    peer.send(peer.headers(1, get));
    let given = 0;
    await until(() => {
      const data = peer.frames.filter(({ type }) => type === h2.DATA);
      for (; given < data.length; given++) {
        const { length } = data[given]!.payload;
        if (length > 0)
          peer.send(frame(h2.WINDOW_UPDATE, 0, 0, uint32(length)), frame(h2.WINDOW_UPDATE, 0, 1, uint32(length)));
      }
      return peer.body(1).length === 6_000 || peer.ended;
    });
    expect(peer.body(1).length).toBe(6_000);
    expect(peer.ended).toBeUndefined();
  });

  test("requests whose answers nobody reads stop being heard", async () => {
    let asked = 0;
    // 204 needs no window: only the connection itself can hold it back.
    const fields: [string, string][] = [["ETag", "e".repeat(1_000)]];
    await using site = await startHttp2Site(() => (asked++, { status: 204, fields, content: undefined, why: "" }));
    await using peer = await Http2Peer.connect(site.port);
    peer.socket.pause();
    let round = 0;
    let last = -1;
    while ((last !== asked || round < 2_000) && round < 100_000) {
      last = asked;
      for (let i = 0; i < 100; i++) peer.send(peer.headers(odd(round++), get));
      await Bun.sleep(2);
    }
    expect(round).toBeLessThan(100_000);
    peer.socket.resume();
    await until(() => asked === round);
    expect(site.faults).toEqual([]);
  }, 60_000);
});

test("500 streams of 8 MB with a window of 0 stay with their upstream", async () => {
  const body = Buffer.alloc(8 << 20, "x");
  using origin = startLargeOrigin(body);
  await using proxy = await startProxyProcess(
    `upstreams: { DEFAULT: { paths: { "/": { servers: ["127.0.0.1:${origin.port}"] } } } }\n`,
  );
  const before = memoryBytes(proxy.pid, "VmHWM");
  const peers: Http2Peer[] = [];
  for (let i = 0; i < 10; i++) {
    const peer = await Http2Peer.connect(
      Number(new URL(proxy.url).port),
      Http2Peer.greeting([h2.INITIAL_WINDOW_SIZE, 0]),
    );
    peers.push(peer);
    for (let j = 0; j < 50; j++) peer.send(peer.headers(odd(j), get));
  }
  for (const peer of peers) await until(() => peer.heads.size === 50, "all heads", 60);
  expect(memoryBytes(proxy.pid, "VmHWM") - before).toBeLessThan(128 << 20);
  // Each of them is still waiting at its origin.
  expect(origin.unsent()).toBe(500);
  // One of them wants its answer after all.
  const wanted = peers[0]!;
  wanted.send(frame(h2.WINDOW_UPDATE, 0, 0, uint32(16 << 20)), frame(h2.WINDOW_UPDATE, 0, 1, uint32(16 << 20)));
  await until(() => wanted.received(1) === body.length || wanted.ended, "the whole answer", 60);
  expect((await wanted.answer(1)).body.length).toBe(body.length);
  for (const peer of peers) await peer[Symbol.asyncDispose]();
  expect(proxy.faults()).toBe("");
}, 180_000);

/**
 * Answers everything with one body, of which it keeps no copies: node:http makes one for each answer, and 500 of them
 * starve the test itself on a busy machine.
 */
function startLargeOrigin(body: Buffer): { readonly port: number; unsent(): number } & Disposable {
  interface Answering {
    left: Buffer[];
  }
  const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
  const answering = new Set<Answering>();
  const write = (socket: Bun.Socket<Answering>) => {
    const { data } = socket;
    for (let [next] = data.left; next; [next] = data.left) {
      const written = socket.write(next);
      if (written < next.length) return void (data.left[0] = next.subarray(Math.max(0, written)));
      data.left.shift();
    }
    answering.delete(data);
  };
  const server = Bun.listen<Answering>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => void (socket.data = { left: [] }),
      data(socket, bytes) {
        const asks = bytes.toString("latin1").startsWith("GET ");
        if (asks) answering.add(socket.data);
        socket.data.left.push(head, ...(asks ? [body] : []));
        write(socket);
      },
      drain: write,
      close: (socket) => void answering.delete(socket.data),
      error() {},
    },
  });
  return { port: server.port, unsent: () => answering.size, [Symbol.dispose]: () => server.stop(true) };
}
