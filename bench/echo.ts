/**
 * The origin of the WebSocket scenarios: sends every message back in a frame of its own, as it comes. On plain requests it
 * answers which fields it saw, as the other origin does at `…/seen`. Run as a program: `echo.ts PORT`.
 */
import { createHash } from "node:crypto";
import { seenFields } from "./site.ts";

const headBytesMax = 64 * 1024;
const opcodeClose = 0x8;

/** One connection, as the data of its socket. */
class Peer {
  #head = "";
  #open = false;
  /** the start of a frame whose header is not complete */
  #rest: Buffer | undefined;
  /** bytes of the current frame's payload that are still to come, and where its mask stands */
  #payloadLeft = 0;
  readonly #mask = new Uint8Array(4);
  #masked = false;
  #maskAt = 0;
  #unsent: Buffer | undefined;

  constructor(readonly socket: Bun.Socket<unknown>) {}

  data(chunk: Buffer): void {
    if (this.#open) this.#echo(chunk);
    else this.#readHead(chunk);
  }

  drain(): void {
    const unsent = this.#unsent;
    if (!unsent) return;
    this.#unsent = undefined;
    if (this.#send(unsent, unsent.length)) this.socket.resume();
  }

  #readHead(chunk: Buffer): void {
    this.#head += chunk.toString("latin1");
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) return void (this.#head.length > headBytesMax && this.socket.terminate());
    const lines = this.#head.slice(0, end).split("\r\n").slice(1);
    const fields = new Map(
      lines.map((line) => [line.split(":")[0]!.toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    const rest = chunk.subarray(chunk.length - (this.#head.length - end - 4));
    this.#head = "";
    const key = fields.get("sec-websocket-key");
    if (key === undefined) return this.#show(fields);
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    this.socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    this.#open = true;
    if (rest.length > 0) this.#echo(rest);
  }

  #show(fields: ReadonlyMap<string, string>): void {
    const seen = JSON.stringify(
      Object.fromEntries(seenFields.map((name) => [name, fields.get(name.toLowerCase()) ?? ""])),
    );
    this.socket.write(
      `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${seen.length}\r\n\r\n${seen}`,
    );
  }

  /** RFC 6455 5.2: a client's frame is a server's with a mask; all of a chunk is answered by one write. */
  #echo(arrived: Buffer): void {
    const chunk = this.#rest ? Buffer.concat([this.#rest, arrived]) : arrived;
    this.#rest = undefined;
    const out = chunk.length <= scratch.length ? scratch : Buffer.allocUnsafe(chunk.length);
    let at = 0;
    let length = 0;
    while (at < chunk.length) {
      if (this.#payloadLeft === 0) {
        const header = this.#readHeader(chunk, at, out, length);
        if (header === 0) {
          this.#rest = Buffer.from(chunk.subarray(at));
          break;
        }
        at += header;
        length += this.#masked ? header - 4 : header;
      }
      const bytes = Math.min(this.#payloadLeft, chunk.length - at);
      chunk.copy(out, length, at, at + bytes);
      if (this.#mask[0]! | this.#mask[1]! | this.#mask[2]! | this.#mask[3]!) this.#unmask(out, length, bytes);
      this.#payloadLeft -= bytes;
      at += bytes;
      length += bytes;
    }
    if (length > 0 && !this.#send(out, length)) this.socket.pause();
  }

  /** Writes the header of the answer, and keeps length and mask. @returns bytes of the header; 0 = it is not complete */
  #readHeader(chunk: Buffer, at: number, out: Buffer, to: number): number {
    if (chunk.length - at < 2) return 0;
    const [first, second] = [chunk[at]!, chunk[at + 1]!];
    const short = second & 0x7f;
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
    this.#masked = second >= 0x80;
    const header = 2 + extended + (this.#masked ? 4 : 0);
    if (chunk.length - at < header) return 0;
    if ((first & 0xf) === opcodeClose) this.socket.end();
    if (extended === 0) this.#payloadLeft = short;
    else this.#payloadLeft = extended === 2 ? chunk.readUInt16BE(at + 2) : Number(chunk.readBigUInt64BE(at + 2));
    if (this.#masked) this.#mask.set(chunk.subarray(at + header - 4, at + header));
    else this.#mask.fill(0);
    this.#maskAt = 0;
    chunk.copy(out, to, at, at + 2 + extended);
    out[to + 1] = short;
    return header;
  }

  #unmask(out: Buffer, from: number, bytes: number): void {
    for (let i = from; i < from + bytes; i++) out[i]! ^= this.#mask[this.#maskAt++ & 3]!;
  }

  /** @returns false when the kernel did not take all; it is sent as soon as it does */
  #send(out: Buffer, length: number): boolean {
    const written = Math.max(0, this.socket.write(out, 0, length));
    if (written === length) return true;
    this.#unsent = Buffer.from(out.subarray(written, length));
    return false;
  }
}

/** Composed and written within one event, so one for all. */
const scratch = Buffer.allocUnsafe(512 * 1024);

export function listenEcho(port: number): { readonly port: number; stop(): void } {
  const listener = Bun.listen<Peer>({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void (socket.data = new Peer(socket)),
      data: (socket, chunk) => socket.data.data(chunk as Buffer),
      drain: (socket) => socket.data.drain(),
    },
  });
  return { port: listener.port, stop: () => listener.stop(true) };
}

if (import.meta.main) listenEcho(Number(process.argv[2]));
