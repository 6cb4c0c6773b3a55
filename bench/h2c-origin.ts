/**
 * The origin of the scenarios with HTTP/2 upstreams: HTTP/2 without TLS, by prior knowledge. Calls of gRPC are answered with
 * a message and trailers, everything else with the small JSON, `…/seen` with the fields that came. It stands on the
 * HTTP/2 connection of this checkout, because it has to cost less than any proxy. Run as a program: `h2c-origin.ts PORT`.
 */
import type { FieldLine } from "../src/data/body.ts";
import { Http2Connection, type Http2Owner, type Http2Timeouts } from "../src/data/wire/http2/connection.ts";
import type { FieldList } from "../src/data/wire/http2/field-list.ts";
import { MAX_CONCURRENT_STREAMS } from "../src/data/wire/http2/protocol.ts";
import type { Stream, StreamUser } from "../src/data/wire/http2/stream.ts";
import { grpcMessage, seenFields, smallBody } from "./site.ts";

const sweepMs = 200;
/** More than any load here has at once. */
const streamsMax = 1_000;
const listBytesMax = 64 * 1024;
/** Nothing is cut because a neighbour has the core. */
const timeouts: Http2Timeouts = { headerMs: 60_000, writeMs: 60_000, idleMs: 0 };

const small = Buffer.from(smallBody);
const grpcTrailers: readonly FieldLine[] = [
  ["grpc-status", "0"],
  ["grpc-message", ""],
];

class Peer implements Http2Owner {
  readonly role = "server";
  readonly listBytesMax = listBytesMax;
  readonly wire: Http2Connection;

  constructor(socket: Bun.Socket<Peer>) {
    this.wire = new Http2Connection(socket, this, [[MAX_CONCURRENT_STREAMS, streamsMax]]);
  }

  timeouts(): Http2Timeouts {
    return timeouts;
  }

  request(stream: Stream, list: FieldList, ended: boolean): void {
    const fields = list.bytes.toString("latin1", 0, list.length);
    const call = new Call(stream, fields);
    stream.user = call;
    if (ended) call.answer();
  }

  settled(): void {}

  leaving(): void {}

  idle(): void {}

  closed(): void {
    peers.delete(this);
  }
}

/** One request; it is answered when all of it has come. */
class Call implements StreamUser {
  constructor(
    readonly stream: Stream,
    readonly fields: string,
  ) {}

  data(_: Buffer, start: number, end: number): void {
    this.stream.consumed(end - start);
  }

  ended(): void {
    this.answer();
  }

  answer(): void {
    if (this.fields.includes("content-type: application/grpc"))
      return this.#send("application/grpc", grpcMessage, grpcTrailers);
    const seen = /^:path: \S*\/seen\r$/m.test(this.fields);
    this.#send("application/json", seen ? Buffer.from(this.#seen()) : small);
  }

  gone(): void {
    this.stream.finish();
  }

  writable(): void {}

  sweep(): void {}

  #send(type: string, body: Uint8Array, trailers?: readonly FieldLine[]): void {
    const { stream } = this;
    const encoder = stream.beginHead();
    if (!encoder) return;
    encoder.status(200);
    encoder.text("content-type", type);
    if (!trailers) encoder.text("content-length", String(body.length));
    stream.sendHead(false);
    stream.write(body);
    stream.end(trailers);
    stream.finish();
  }

  #seen(): string {
    const lines = this.fields.split("\r\n").map((line) => {
      const colon = line.indexOf(":", 1);
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)] as const;
    });
    const fields = new Map(lines);
    const find = (name: string) => fields.get(name) ?? (name === "host" ? fields.get(":authority") : undefined) ?? "";
    return JSON.stringify(Object.fromEntries(seenFields.map((name) => [name, find(name.toLowerCase())])));
  }
}

const peers = new Set<Peer>();

export function listenH2c(port: number): { readonly port: number; stop(): void } {
  const listener = Bun.listen<Peer>({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.data = new Peer(socket);
        peers.add(socket.data);
      },
      data: (socket, chunk) => socket.data.wire.data(chunk as Buffer),
      drain: (socket) => socket.data.wire.drain(),
      end: (socket) => socket.data.wire.end(),
      close: (socket, error) => socket.data.wire.close(error),
    },
  });
  const sweeper = setInterval(() => {
    const nowMs = performance.now();
    for (const peer of peers) peer.wire.sweep(nowMs);
  }, sweepMs);
  return {
    port: listener.port,
    stop() {
      clearInterval(sweeper);
      listener.stop(true);
    },
  };
}

if (import.meta.main) listenH2c(Number(process.argv[2]));
