/**
 * Frames on their way out of one connection: composed in buffers that all connections share, written once per turn of
 * the event loop, kept where the kernel does not take them. `wire/output` is the same thing for one exchange at a time;
 * here many connections compose at once.
 */
import { http2BuffersKept, outputBufferBytes } from "../../../lib/limits.ts";
import type { Transport } from "../transport.ts";
import { DATA, END_STREAM, frameHeadBytes } from "./protocol.ts";

const spares: Buffer[] = [];

/** A remainder that is short is kept in a buffer of its own size. */
const shortRemainder = outputBufferBytes / 4;

interface Kept {
  bytes: Buffer;
  at: number;
  end: number;
}

export class FrameOutput {
  /** composed, or not taken by the kernel */
  pendingBytes = 0;
  #buffer: Buffer | undefined;
  #length = 0;
  readonly #queue: Kept[] = [];
  /** the DATA frame that was composed last, while it can still get its END_STREAM */
  #dataStream = 0;
  #dataFlagsAt = 0;
  /** the connection is gone: everything is thrown away */
  #closed = false;

  constructor(readonly transport: Transport) {}

  /** the kernel did not take everything */
  get blocked(): boolean {
    return this.#queue.length > 0;
  }

  /** Begins a frame and its payload, of which at most {@link outputBufferBytes} less a head are laid down by one call. */
  head(length: number, type: number, flags: number, stream: number): void {
    const buffer = this.#room(frameHeadBytes);
    const at = this.#length;
    buffer[at] = length >>> 16;
    buffer[at + 1] = length >>> 8;
    buffer[at + 2] = length;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    buffer[at + 5] = stream >>> 24;
    buffer[at + 6] = stream >>> 16;
    buffer[at + 7] = stream >>> 8;
    buffer[at + 8] = stream;
    this.#length = at + frameHeadBytes;
    this.pendingBytes += frameHeadBytes;
    if (type === DATA) {
      this.#dataStream = stream;
      this.#dataFlagsAt = at + 4;
    } else this.#dataStream = 0;
  }

  uint16(value: number): void {
    const buffer = this.#room(2);
    buffer[this.#length++] = value >>> 8;
    buffer[this.#length++] = value;
    this.pendingBytes += 2;
  }

  uint32(value: number): void {
    this.uint16(value >>> 16);
    this.uint16(value);
  }

  /** Appends bytes[start, end), by copy. */
  copy(bytes: Uint8Array, start: number, end: number): void {
    this.pendingBytes += end - start;
    while (start < end) {
      const buffer = this.#room(1);
      const to = Math.min(end, start + outputBufferBytes - this.#length);
      if (to - start <= 32) for (let i = start; i < to; i++) buffer[this.#length++] = bytes[i]!;
      else {
        // A view of a fresh Buffer costs more than the copy (bun-facts 7).
        if (start === 0 && to === bytes.length) buffer.set(bytes, this.#length);
        else copyRange.call(bytes, buffer, this.#length, start, to);
        this.#length += to - start;
      }
      start = to;
    }
  }

  /** Sets END_STREAM on the stream's DATA frame that was composed last. @returns false when it has left already */
  endLastData(stream: number): boolean {
    if (this.#dataStream !== stream || !this.#buffer) return false;
    this.#buffer[this.#dataFlagsAt]! |= END_STREAM;
    this.#dataStream = 0;
    return true;
  }

  /** Writes what was composed. @returns true when the kernel has taken everything */
  flush(): boolean {
    const buffer = this.#buffer;
    if (!buffer) return this.#queue.length === 0;
    const length = this.#length;
    this.#buffer = undefined;
    this.#length = 0;
    this.#dataStream = 0;
    let taken = 0;
    if (this.#closed) taken = length;
    else if (this.#queue.length === 0) {
      taken = this.transport.write(buffer, 0, length);
      // Gone: `close` tells its own story.
      if (taken < 0) taken = length;
    }
    this.pendingBytes -= taken;
    const left = length - taken;
    if (left > shortRemainder) this.#queue.push({ bytes: buffer, at: taken, end: length });
    else {
      if (left > 0) this.#queue.push({ bytes: Buffer.from(buffer.subarray(taken, length)), at: 0, end: left });
      giveBack(buffer);
    }
    return this.#queue.length === 0;
  }

  /** The transport takes bytes again. @returns true when nothing is kept any more */
  drain(): boolean {
    const queue = this.#queue;
    while (queue.length > 0) {
      const first = queue[0]!;
      const taken = this.transport.write(first.bytes, first.at, first.end - first.at);
      if (taken < 0) {
        this.close();
        return true;
      }
      this.pendingBytes -= taken;
      first.at += taken;
      if (first.at < first.end) return false;
      queue.shift();
      giveBack(first.bytes);
    }
    return true;
  }

  /** The connection is gone. */
  close(): void {
    this.#closed = true;
    for (const { bytes } of this.#queue) giveBack(bytes);
    this.#queue.length = 0;
    if (this.#buffer) giveBack(this.#buffer);
    this.#buffer = undefined;
    this.#length = 0;
    this.pendingBytes = 0;
  }

  /** A buffer with room for so many bytes at {@link #length}; a full one is written at once. */
  #room(bytes: number): Buffer {
    if (this.#buffer && this.#length + bytes > outputBufferBytes) this.flush();
    return (this.#buffer ??= spares.pop() ?? Buffer.allocUnsafeSlow(outputBufferBytes));
  }
}

/** Of Buffers; works on any bytes, some of which (a file's) are no Buffers. */
const copyRange = Buffer.prototype.copy as (
  this: Uint8Array,
  into: Buffer,
  at: number,
  start: number,
  end: number,
) => number;

function giveBack(buffer: Buffer): void {
  if (buffer.length === outputBufferBytes && spares.length < http2BuffersKept) spares.push(buffer);
}
