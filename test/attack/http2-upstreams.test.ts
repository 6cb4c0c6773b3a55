/** Servers of HTTP/2 that are broken or hostile: each costs its own requests, in time, and nobody else's. */
import { describe, expect, test } from "bun:test";
import type net from "node:net";
import * as h2 from "../../src/data/wire/http2/protocol.ts";
import { http2StreamWindow } from "../../src/lib/limits.ts";
import { frame, get, Http2Peer, settings, uint32 } from "../support/http2-peer.ts";
import { startHttp2Origin } from "../support/http2-origin.ts";
import { startRawOrigin } from "../support/origins.ts";
import { memoryBytes } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { startProxy, until } from "../support/proxy.ts";

const engines = { listener_engine: "socket", upstream_engine: "socket" } as const;

function rules(...addresses: string[]): string {
  const servers = addresses.map((address) => `{ address: "${address}", protocol: h2c }`).join(", ");
  return `upstreams: { a.test: { healthcheck: false, paths: { "/": { servers: [${servers}] } } } }\n`;
}

/** Greets as told; `answer` hears of each request, one without an answer gets 200. */
function answering(
  greeting: Uint8Array,
  onConnect = () => {},
  answer = (socket: net.Socket, stream: number): void => void socket.write(head(stream, true)),
) {
  const rests = new Map<net.Socket, Buffer>();
  return startRawOrigin((socket, data) => {
    const before = rests.get(socket);
    if (!before) {
      onConnect();
      socket.write(Buffer.concat([greeting, frame(h2.SETTINGS, h2.ACK, 0)]));
    }
    let bytes = before ? Buffer.concat([before, data]) : data.subarray(h2.preface.length);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      if (bytes[3] === h2.HEADERS) answer(socket, bytes.readUInt32BE(5));
      bytes = bytes.subarray(9 + bytes.readUIntBE(0, 3));
    }
    rests.set(socket, bytes);
  });
}

/** 200, and no more. */
function head(stream: number, end: boolean): Buffer {
  return frame(h2.HEADERS, h2.END_HEADERS | (end ? h2.END_STREAM : 0), stream, Buffer.from([0x88]));
}

const goaway = frame(h2.GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(h2.NO_ERROR)]));

describe("a server that takes no requests is given up, not connected to again and again", () => {
  for (const [name, greeting] of [
    ["it allows no streams", settings([h2.MAX_CONCURRENT_STREAMS, 0])],
    ["it greets and goes away at once", Buffer.concat([settings(), goaway])],
  ] as const) {
    test(name, async () => {
      let connections = 0;
      await using bad = await answering(greeting, () => connections++);
      await using proxy = await startProxy(rules(bad.address), engines);
      await using peer = await Http2Peer.connect(proxy.plainPort);
      peer.send(peer.headers(1, get));
      expect((await peer.answer(1)).status).toBe(502);
      // The first try and those of `retries`.
      expect(connections).toBeLessThanOrEqual(3);

      // Beside a good one nobody notices.
      await using good = await answering(settings());
      await using both = await startProxy(rules(bad.address, good.address), engines);
      await using other = await Http2Peer.connect(both.plainPort);
      for (let stream = 1; stream < 20; stream += 2) {
        other.send(other.headers(stream, get));
        expect((await other.answer(stream)).status).toBe(200);
      }
    });
  }
});

test("where no more connections may be opened a request waits for room, and gets 503 in the end", async () => {
  const held: (() => void)[] = [];
  await using slow = await startHttp2Origin(
    (stream) => held.push(() => (stream.respond({ ":status": 200 }), stream.end("ok"))),
    { settings: { maxConcurrentStreams: 1 } },
  );
  const written = `upstreams: { a.test: { timeouts: { connect: 1 }, healthcheck: false, paths: { "/": { servers: [{ address: "${slow.address}", protocol: h2c }] } } } }\n`;
  await using proxy = await startProxy(written, { ...engines, max_upstream_connections: 1 });
  await using peer = await Http2Peer.connect(proxy.plainPort);
  peer.send(peer.headers(1, get));
  await until(() => held.length === 1, "the first request");
  peer.send(peer.headers(3, get));
  await Bun.sleep(100);
  held.shift()!();
  await until(() => held.length === 1, "the second request");
  peer.send(peer.headers(5, get));
  expect((await peer.answer(5)).status).toBe(503);
  held.shift()!();
  expect((await peer.answer(1)).body + (await peer.answer(3)).body).toBe("okok");
  expect(slow.sessions.size).toBe(1);
});

test("answers that clients do not read end by themselves, not with the connection that others share", async () => {
  let first: (() => void) | undefined;
  let connections = 0;
  // As much as a stream's window holds; the first request waits.
  const chunk = Buffer.alloc(16_384);
  const more = (socket: net.Socket, stream: number) => {
    if (!first) return void (first = () => socket.write(head(stream, true)));
    const data = Array.from({ length: http2StreamWindow / chunk.length }, () => frame(h2.DATA, 0, stream, chunk));
    socket.write(Buffer.concat([head(stream, false), ...data]));
  };
  await using origin = await answering(settings(), () => connections++, more);
  await using proxy = await startProxyProcess(rules(origin.address));
  const port = Number(new URL(proxy.url).port);
  const before = memoryBytes(proxy.pid, "VmHWM");
  await using other = await Http2Peer.connect(port);
  other.send(other.headers(1, get));
  await until(() => first, "the other client's request");
  const peers: Http2Peer[] = [];
  for (let i = 0; i < 10; i++) {
    const peer = await Http2Peer.connect(port, Http2Peer.greeting([h2.INITIAL_WINDOW_SIZE, 0]));
    peers.push(peer);
    for (let j = 0; j < 50; j++) peer.send(peer.headers(2 * j + 1, get));
  }
  for (const peer of peers) await until(() => peer.heads.size === 50, "all heads", 60);
  expect(memoryBytes(proxy.pid, "VmHWM") - before).toBeLessThan(128 << 20);
  first!();
  expect((await other.answer(1)).status).toBe(200);
  expect(connections).toBe(1);
  // Who reads after all gets what was kept, or sees that it is cut; never an end.
  for (const peer of peers) {
    peer.send(frame(h2.WINDOW_UPDATE, 0, 0, uint32(50 * http2StreamWindow)));
    for (let j = 0; j < 50; j++) peer.send(frame(h2.WINDOW_UPDATE, 0, 2 * j + 1, uint32(http2StreamWindow)));
  }
  const is = (type: number) => peers.flatMap(({ frames }) => frames.filter((it) => it.type === type && it.stream > 0));
  await until(() => is(h2.RST_STREAM).length > 0, "those that were cut", 60);
  await until(() => is(h2.DATA).length > 1_000, "what was kept", 60);
  expect(is(h2.DATA).some(({ flags }) => (flags & h2.END_STREAM) !== 0)).toBe(false);
  for (const peer of peers) await peer[Symbol.asyncDispose]();
  expect(proxy.faults()).toBe("");
}, 120_000);
