/** What takes too long, or too much, for a test with real clients: signs of life, and bytes that wait everywhere. */
import { describe, expect, test } from "bun:test";
import { Http2Connection, type Http2Owner } from "../../../../src/data/wire/http2/connection.ts";
import { FrameReader, type FrameEvents } from "../../../../src/data/wire/http2/frame-reader.ts";
import * as h2 from "../../../../src/data/wire/http2/protocol.ts";
import { HpackEncoder } from "../../../../src/data/wire/http2/hpack-encoder.ts";
import { QueuedBytes } from "../../../../src/data/wire/http2/queued-bytes.ts";
import type { Stream } from "../../../../src/data/wire/http2/stream.ts";
import type { Transport } from "../../../../src/data/wire/transport.ts";
import {
  http2PingAfterMs,
  http2PingWaitMs,
  http2QueuesBytesMax,
  http2QueueShareBytes,
  http2StreamShareBytes,
} from "../../../../src/lib/limits.ts";
import { frame, get, Http2Peer, settings, uint32 } from "../../../support/http2-peer.ts";

class Wire implements Transport {
  written: Buffer = Buffer.alloc(0);
  ended = "";
  write(data: Uint8Array, offset = 0, length = data.length - offset): number {
    this.written = Buffer.concat([this.written, data.subarray(offset, offset + length)]);
    return length;
  }
  pause(): void {}
  resume(): void {}
  end(): void {
    this.ended ||= "end";
  }
  shutdown(): void {
    this.ended ||= "fin";
  }
  terminate(): void {
    this.ended ||= "reset";
  }
}

/** An upstream's connection with one stream that waits for its answer. */
function waiting() {
  const wire = new Wire();
  const gone: string[] = [];
  const owner: Http2Owner = {
    role: "client",
    listBytesMax: 1_000,
    timeouts: () => ({ headerMs: 0, writeMs: 0, idleMs: 0 }),
    request() {},
    settled() {},
    leaving() {},
    idle() {},
    closed: (_code, why) => gone.push(why),
  };
  const connection = new Http2Connection(wire, owner, []);
  const stream = connection.open();
  stream.user = { data() {}, ended() {}, gone: (_code, _byPeer, why) => gone.push(why), writable() {}, sweep() {} };
  const encoder = stream.beginHead()!;
  for (const [name, value] of get) encoder.text(name, value);
  stream.sendHead(true);
  connection.data(Buffer.concat([settings(), frame(h2.SETTINGS, h2.ACK, 0)]));
  connection.turnEnded();
  wire.written = Buffer.alloc(0);
  return { wire, gone, connection };
}

describe("a connection with streams that has been silent", () => {
  test("is asked for a sign of life, and goes on with one", () => {
    const { wire, gone, connection } = waiting();
    const nowMs = performance.now();
    // The clock is read by sweeps: this one sees that something was heard.
    connection.sweep(nowMs);
    connection.sweep(nowMs + http2PingAfterMs - 100);
    connection.turnEnded();
    expect(wire.written.length).toBe(0);
    connection.sweep(nowMs + http2PingAfterMs + 1_000);
    connection.turnEnded();
    expect(wire.written[3]).toBe(h2.PING);
    connection.data(frame(h2.PING, h2.ACK, 0, wire.written.subarray(9, 17)));
    connection.sweep(nowMs + http2PingWaitMs + 1_000);
    expect(gone).toEqual([]);
    connection.cut("the test is over");
  });

  test("is given up without one, and its streams with it", () => {
    const { wire, gone, connection } = waiting();
    const nowMs = performance.now();
    // The clock is read by sweeps: this one sees that something was heard.
    connection.sweep(nowMs);
    connection.sweep(nowMs + http2PingAfterMs + 1_000);
    connection.sweep(nowMs + http2PingWaitMs + 1_000);
    expect(gone).toEqual(["no answer to a PING", "no answer to a PING"]);
    expect(wire.ended).toBe("reset");
  });
});

test("of too many bytes that wait everywhere, only who holds more than a share is told", () => {
  const calmed: string[] = [];
  const large = new QueuedBytes(() => calmed.push("large"));
  const small = new QueuedBytes(() => calmed.push("small"));
  large.add(http2QueuesBytesMax);
  small.add(http2QueueShareBytes);
  expect(calmed).toEqual([]);
  large.add(1);
  expect(calmed).toEqual(["large"]);
  large.remove(http2QueuesBytesMax + 1);
  small.add(1);
  expect(calmed).toEqual(["large"]);
  small.remove(http2QueueShareBytes + 1);
});

test("many connections that each stay below the share are told too, and a shared one's streams by their own bytes", () => {
  const told: number[] = [];
  const many = Array.from({ length: 200 }, (_, i) => new QueuedBytes(() => told.push(i)));
  for (const queued of many) queued.add(http2QueueShareBytes - 1);
  // Twice the bound is reached by about the 128th.
  expect(told.length).toBeWithin(50, 100);
  const shared = new QueuedBytes(undefined);
  expect([shared.tooMany(1), shared.tooMany(http2StreamShareBytes + 1)]).toEqual([true, true]);
  for (const queued of many) queued.remove(http2QueueShareBytes - 1);
  shared.add(http2QueuesBytesMax + 1);
  expect([shared.tooMany(1), shared.tooMany(http2StreamShareBytes + 1)]).toEqual([false, true]);
  shared.remove(http2QueuesBytesMax + 1);
  expect(shared.tooMany(http2StreamShareBytes + 1)).toBe(false);
});

describe("frames", () => {
  function read(pieces: readonly Buffer[]): string[] {
    const seen: string[] = [];
    let data = "";
    const events: FrameEvents = {
      frame: (type, flags, stream, bytes, start, end) =>
        seen.push(`${type} ${flags} ${stream} ${bytes.toString("hex", start, end)}`),
      dataBegins: (stream, length) => {
        data = "";
        seen.push(`data ${stream} ${length}`);
      },
      dataPart: (bytes, start, end) => (data += bytes.toString("hex", start, end)),
      dataEnds: (end) => seen.push(`${data} ${end}`),
      broken: (code, why) => seen.push(`${h2.errorName(code)}: ${why}`),
    };
    const reader = new FrameReader(events, 16_384);
    for (const piece of pieces) reader.feed(piece, 0, piece.length);
    return seen;
  }

  const bytes = Buffer.concat([
    frame(h2.PING, 0, 0, Buffer.from("12345678")),
    frame(h2.DATA, h2.PADDED | h2.END_STREAM, 5, Buffer.from("\x03data\0\0\0")),
    frame(h2.DATA, 0, 7),
    frame(h2.WINDOW_UPDATE, 0, 0x7fff_ffff, uint32(9)),
  ]);

  test("read the same in two pieces, cut anywhere, and byte by byte", () => {
    const whole = read([bytes]);
    expect(whole).toEqual([
      "6 0 0 3132333435363738",
      "data 5 8",
      "64617461 true",
      "data 7 0",
      " false",
      "8 0 2147483647 00000009",
    ]);
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(read([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(whole);
    expect(read(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)))).toEqual(whole);
  });

  test("padding beyond its frame, and frames beyond their bound, stop the reader", () => {
    const more = frame(h2.PING, 0, 0, Buffer.alloc(8));
    expect(read([frame(h2.DATA, h2.PADDED, 1, Buffer.from("\x04abc")), more])).toEqual([
      "data 1 4",
      "PROTOCOL_ERROR: padding longer than its frame",
    ]);
    expect(read([frame(h2.DATA, h2.PADDED, 1), more])).toEqual(["FRAME_SIZE_ERROR: padding in an empty frame"]);
    expect(read([frame(h2.PING, 0, 0, Buffer.alloc(16_385)), more])).toEqual([
      "FRAME_SIZE_ERROR: a frame longer than allowed",
    ]);
  });
});

/** A client's connection whose requests are kept. */
function serving() {
  const wire = new Wire();
  const seen: Stream[] = [];
  const owner: Http2Owner = {
    role: "server",
    listBytesMax: 1_000,
    timeouts: () => ({ headerMs: 0, writeMs: 0, idleMs: 0 }),
    request(stream) {
      stream.user = { data() {}, ended() {}, gone() {}, writable() {}, sweep() {} };
      seen.push(stream);
    },
    settled() {},
    leaving() {},
    idle() {},
    closed() {},
  };
  const connection = new Http2Connection(wire, owner, []);
  connection.data(Http2Peer.greeting());
  const encoder = new HpackEncoder();
  const head = (stream: number, flags: number) => {
    encoder.begin();
    for (const [name, value] of get) encoder.text(name, value);
    return frame(h2.HEADERS, flags, stream, Buffer.from(encoder.bytes.subarray(0, encoder.length)));
  };
  /** last streams of all GOAWAYs */
  const goaways = () => {
    connection.turnEnded();
    const found: number[] = [];
    for (let at = 0; at + 9 <= wire.written.length; at += 9 + wire.written.readUIntBE(at, 3))
      if (wire.written[at + 3] === h2.GOAWAY) found.push(wire.written.readUInt32BE(at + 9));
    return found;
  };
  return { connection, seen, head, goaways };
}

test("a request that crosses the second GOAWAY, and its body, are ignored; what is open goes on (RFC 9113 6.8)", () => {
  const { connection, seen, head, goaways } = serving();
  connection.data(head(1, h2.END_HEADERS | h2.END_STREAM));
  connection.shutDown();
  connection.data(frame(h2.PING, h2.ACK, 0, Buffer.alloc(8)));
  expect(goaways()).toEqual([h2.windowLargest, 1]);
  connection.data(
    Buffer.concat([
      head(3, h2.END_HEADERS),
      frame(h2.DATA, 0, 3, Buffer.from("body")),
      frame(h2.WINDOW_UPDATE, 0, 3, uint32(1_000)),
      frame(h2.DATA, h2.END_STREAM, 3, Buffer.from("rest")),
      frame(h2.RST_STREAM, 0, 3, uint32(h2.CANCEL)),
    ]),
  );
  expect([seen.length, connection.active, goaways()]).toEqual([1, 1, [h2.windowLargest, 1]]);
  seen[0]!.end();
  seen[0]!.finish();
  // What was said once to be left out is never taken back: the client has asked elsewhere.
  expect(Math.max(...goaways().slice(1))).toBe(1);
});
