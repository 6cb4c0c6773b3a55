/** WebSocket frames on their way out: framed, masked and, where the socket takes only a part, kept for its next drain. */
import * as limits from "../../lib/limits.ts";
import { type Bytes, isCloseCode, opcodes } from "./websocket-frames.ts";
import { mask, maskKey } from "./websocket-mask.ts";

/** A socket as this file needs it: takes a part of the bytes, returns how many, or -1 when closed (as Bun's does). */
export interface ByteTaker {
  write(bytes: Uint8Array, at: number, length: number): number;
}

/** Bytes that wait. `key` masks them on the way out; 0 = they are as they must be. */
interface Piece {
  readonly bytes: Bytes;
  readonly key: number;
  at: number;
  end: number;
  /** has room at its end for later small frames: a queue of tiny frames must not cost an object each */
  readonly roomy: boolean;
}

const headBytesMax = 14;
/** Shared by all writers: used within one synchronous call only. */
const scratch = new Uint8Array(headBytesMax + limits.webSocketSliceBytes);
const encoder = new TextEncoder();

export class FrameWriter {
  /** bytes that the socket has not taken yet */
  queuedBytes = 0;
  private readonly pieces: Piece[] = [];

  /** @param masked true on the client side, whose frames must be masked (RFC 6455 5.3) */
  constructor(
    private readonly out: ByteTaker,
    private readonly masked: boolean,
  ) {}

  text(text: string): number {
    // One UTF-16 unit takes up to three bytes.
    if (text.length * 3 > limits.webSocketSliceBytes) return this.frame(opcodes.text, Buffer.from(text, "utf8"));
    const { written } = encoder.encodeInto(text, scratch.subarray(headBytesMax));
    this.frameInScratch(opcodes.text, written);
    return written;
  }

  /** @param data handed over: large data is read later on, so the caller must not change it */
  binary(data: Bytes): void {
    this.frame(opcodes.binary, data);
  }

  ping(data: Uint8Array): void {
    this.small(opcodes.ping, data);
  }

  pong(data: Uint8Array): void {
    this.small(opcodes.pong, data);
  }

  /** @param code one that may not be sent (1005, 1006, 1015, …) gives a close frame without a code */
  close(code: number, reason: string): void {
    if (!isCloseCode(code)) return this.frameInScratch(opcodes.close, 0);
    scratch[headBytesMax] = code >>> 8;
    scratch[headBytesMax + 1] = code & 0xff;
    // encodeInto never writes half a character, so a reason that is too long stays valid UTF-8.
    const { written } = encoder.encodeInto(reason, scratch.subarray(headBytesMax + 2, headBytesMax + 125));
    this.frameInScratch(opcodes.close, 2 + written);
  }

  /** Writes what waits, as far as the socket takes it. @returns true when it took something */
  flush(): boolean {
    const before = this.queuedBytes;
    while (this.pieces.length > 0) {
      let filled = 0;
      for (const piece of this.pieces) {
        if (filled === scratch.length) break;
        const end = Math.min(piece.end, piece.at + scratch.length - filled);
        scratch.set(piece.bytes.subarray(piece.at, end), filled);
        mask(scratch, filled, filled + end - piece.at, piece.key, piece.at & 3);
        filled += end - piece.at;
      }
      const taken = Math.max(0, this.out.write(scratch, 0, filled));
      this.forget(taken);
      if (taken < filled) break;
    }
    return this.queuedBytes < before;
  }

  private forget(taken: number): void {
    this.queuedBytes -= taken;
    while (taken > 0) {
      const piece = this.pieces[0]!;
      const part = Math.min(taken, piece.end - piece.at);
      piece.at += part;
      taken -= part;
      if (piece.at === piece.end) this.pieces.shift();
    }
  }

  private small(opcode: number, data: Uint8Array): void {
    scratch.set(data, headBytesMax);
    this.frameInScratch(opcode, data.length);
  }

  private frame(opcode: number, data: Bytes): number {
    const length = data.length;
    if (length <= limits.webSocketSliceBytes) {
      this.small(opcode, data);
      return length;
    }
    const key = this.masked ? maskKey() : 0;
    const start = this.writeHead(opcode, length, key);
    this.keep(scratch.slice(start, headBytesMax), 0, false);
    this.keep(data, key, false);
    // With older frames in front, the socket is full: its drain will come.
    if (this.pieces.length === 2) this.flush();
    return length;
  }

  /** The payload stands in the scratch behind the room for the head. */
  private frameInScratch(opcode: number, length: number): void {
    const key = this.masked ? maskKey() : 0;
    const end = headBytesMax + length;
    mask(scratch, headBytesMax, end, key);
    let start = this.writeHead(opcode, length, key);
    if (this.pieces.length === 0) {
      start += Math.max(0, this.out.write(scratch, start, end - start));
      if (start === end) return;
    }
    const last = this.pieces.at(-1);
    if (last?.roomy && last.bytes.length - last.end >= end - start) {
      last.bytes.set(scratch.subarray(start, end), last.end);
      last.end += end - start;
      this.queuedBytes += end - start;
    } else {
      this.keep(scratch.slice(start, end), 0, true);
    }
  }

  private keep(bytes: Bytes, key: number, roomy: boolean): void {
    let store = bytes;
    if (roomy) {
      store = new Uint8Array(scratch.length);
      store.set(bytes);
    }
    this.pieces.push({ bytes: store, key, at: 0, end: bytes.length, roomy });
    this.queuedBytes += bytes.length;
  }

  /** Right-aligned in the room for it. @returns where it starts in the scratch */
  private writeHead(opcode: number, length: number, key: number): number {
    const lengthBytes = length < 126 ? 0 : length < 0x1_0000 ? 2 : 8;
    const start = headBytesMax - 2 - lengthBytes - (this.masked ? 4 : 0);
    scratch[start] = 0x80 | opcode;
    scratch[start + 1] = (this.masked ? 0x80 : 0) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
    let rest = length;
    for (let i = lengthBytes - 1; i >= 0; i--) {
      scratch[start + 2 + i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    if (this.masked) for (let i = 0; i < 4; i++) scratch[headBytesMax - 4 + i] = key >>> (8 * i);
    return start;
  }
}
