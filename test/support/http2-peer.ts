/** A client that sends HTTP/2 frames by hand, right or wrong, and tells which came back. */
import net from "node:net";
import { FieldList, perLine } from "../../src/data/wire/http2/field-list.ts";
import { HpackDecoder } from "../../src/data/wire/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../src/data/wire/http2/hpack-encoder.ts";
import * as h2 from "../../src/data/wire/http2/protocol.ts";
import { until } from "./proxy.ts";

export type Lines = readonly (readonly [name: string, value: string])[];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const get: Lines = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "a.test"],
];

export const post: Lines = [[":method", "POST"], ...get.slice(1)];

/** One frame as bytes. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function settings(...pairs: readonly (readonly [identifier: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  pairs.forEach(([identifier, value], i) => {
    payload.writeUInt16BE(identifier, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  });
  return frame(h2.SETTINGS, 0, 0, payload);
}

export class Http2Peer implements AsyncDisposable {
  readonly frames: Frame[] = [];
  /** the connection ended, and how */
  ended: "end" | "reset" | undefined;
  bytesIn = 0;
  readonly #encoder = new HpackEncoder();
  readonly #decoder = new HpackDecoder(4096);
  #rest: Buffer = Buffer.alloc(0);
  readonly heads = new Map<number, [string, string][][]>();

  private constructor(readonly socket: net.Socket) {
    socket.on("data", (chunk: Buffer) => {
      this.bytesIn += chunk.length;
      this.#read(chunk);
    });
    socket.on("end", () => (this.ended ??= "end"));
    socket.on("error", () => (this.ended = "reset"));
    socket.on("close", () => (this.ended ??= "end"));
  }

  /** Connects, and greets unless told otherwise. */
  static async connect(port: number, greeting: Uint8Array = Http2Peer.greeting()): Promise<Http2Peer> {
    const socket = net.connect(port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    const peer = new Http2Peer(socket);
    if (greeting.length > 0) socket.write(greeting);
    return peer;
  }

  static greeting(...pairs: readonly (readonly [identifier: number, value: number])[]): Buffer {
    return Buffer.concat([h2.preface, settings(...pairs), frame(h2.SETTINGS, h2.ACK, 0)]);
  }

  send(...frames: readonly Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  /** A field block, coded with this connection's table. */
  block(lines: Lines): Buffer {
    this.#encoder.begin();
    for (const [name, value] of lines) this.#encoder.text(name, value);
    return Buffer.from(this.#encoder.bytes.subarray(0, this.#encoder.length));
  }

  /** A field block of literals as they are, for names and values that nobody should send. */
  raw(lines: Lines): Buffer {
    return Buffer.concat(
      lines.map(([name, value]) =>
        Buffer.concat([
          Buffer.from([0, name.length]),
          Buffer.from(name, "latin1"),
          Buffer.from([value.length]),
          Buffer.from(value, "latin1"),
        ]),
      ),
    );
  }

  headers(stream: number, lines: Lines, end = true): Buffer {
    return frame(h2.HEADERS, h2.END_HEADERS | (end ? h2.END_STREAM : 0), stream, this.block(lines));
  }

  data(stream: number, data: Uint8Array | string, end = false): Buffer {
    return frame(h2.DATA, end ? h2.END_STREAM : 0, stream, Buffer.from(data));
  }

  /** The first frame that fits. */
  frame(type: number, stream = 0, fits: (frame: Frame) => boolean = () => true): Promise<Frame> {
    return until(
      () => this.frames.find((it) => it.type === type && it.stream === stream && fits(it)),
      `a frame of type ${type} on ${stream}; there came ${this.frames.map((it) => `${it.type}@${it.stream}`).join(" ")}`,
    );
  }

  /** The error code of the GOAWAY that ends the connection. */
  async goaway(): Promise<string> {
    const { payload } = await this.frame(h2.GOAWAY, 0, ({ payload }) => payload.readUInt32BE(4) !== 0);
    return h2.errorName(payload.readUInt32BE(4));
  }

  async reset(stream: number): Promise<string> {
    return h2.errorName((await this.frame(h2.RST_STREAM, stream)).payload.readUInt32BE(0));
  }

  /** The answer on a stream, once it is complete. */
  async answer(stream: number): Promise<{ status: number; heads: [string, string][][]; body: string }> {
    await until(
      () => this.frames.find((it) => it.stream === stream && it.type <= h2.HEADERS && (it.flags & h2.END_STREAM) !== 0),
      `the end of stream ${stream}; there came ${this.frames.map((it) => `${it.type}@${it.stream}`).join(" ")}`,
    );
    const heads = this.heads.get(stream) ?? [];
    return {
      status: Number(heads.findLast((head) => head[0]?.[0] === ":status")?.[0]![1]),
      heads,
      body: this.body(stream),
    };
  }

  /** Bytes of body so far. */
  received(stream: number): number {
    return this.frames.reduce(
      (sum, it) => (it.type === h2.DATA && it.stream === stream ? sum + it.payload.length : sum),
      0,
    );
  }

  body(stream: number): string {
    return Buffer.concat(
      this.frames.filter((it) => it.type === h2.DATA && it.stream === stream).map(({ payload }) => payload),
    ).toString("latin1");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 9) {
      const length = bytes.readUIntBE(0, 3);
      if (bytes.length < 9 + length) break;
      const it = {
        type: bytes[3]!,
        flags: bytes[4]!,
        stream: bytes.readUInt32BE(5),
        payload: bytes.subarray(9, 9 + length),
      };
      bytes = bytes.subarray(9 + length);
      this.frames.push(it);
      if (it.type === h2.HEADERS) this.#head(it);
    }
    this.#rest = bytes;
  }

  #head({ stream, payload }: Frame): void {
    const list = new FieldList();
    list.begin(1 << 20, 1_000);
    if (!this.#decoder.decode(payload, 0, payload.length, list))
      throw new Error("the peer's field block cannot be decoded");
    const { bytes, lines, count } = list;
    const head = Array.from({ length: count }, (_, i): [string, string] => [
      bytes.toString("latin1", lines[i * perLine]!, lines[i * perLine + 1]!),
      bytes.toString("latin1", lines[i * perLine + 2]!, lines[i * perLine + 3]!),
    ]);
    this.heads.set(stream, [...(this.heads.get(stream) ?? []), head]);
  }
}
