/** Servers of HTTP/2 that are broken or hostile: each costs its own requests, in time, and nobody else's. */
import { describe, expect, test } from "bun:test";
import type net from "node:net";
import * as h2 from "../../src/data/wire/http2/protocol.ts";
import { frame, get, Http2Peer, settings, uint32 } from "../support/http2-peer.ts";
import { startHttp2Origin } from "../support/http2-origin.ts";
import { startRawOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";

const engines = { listener_engine: "socket", upstream_engine: "socket" } as const;

function rules(...addresses: string[]): string {
  const servers = addresses.map((address) => `{ address: "${address}", protocol: h2c }`).join(", ");
  return `upstreams: { a.test: { healthcheck: false, paths: { "/": { servers: [${servers}] } } } }\n`;
}

/** Greets as told, and answers every request with 200. */
function answering(greeting: Uint8Array, onConnect = () => {}) {
  return startRawOrigin((socket: net.Socket, data: Buffer) => {
    const begins = data.subarray(0, 3).toString() === "PRI";
    if (begins) {
      onConnect();
      socket.write(greeting);
    }
    for (let at = begins ? 24 : 0; at + 9 <= data.length;) {
      const stream = data.readUInt32BE(at + 5);
      const type = data[at + 3];
      at += 9 + data.readUIntBE(at, 3);
      if (type === h2.HEADERS)
        socket.write(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, Buffer.from([0x88])));
    }
  });
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
