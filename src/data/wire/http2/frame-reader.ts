/**
 * Frames out of a stream of bytes (RFC 9113 4.1), however it is split. The payload of DATA is passed on as it comes; any
 * other frame when it is whole.
 */
import { DATA, END_STREAM, frameHeadBytes, FRAME_SIZE_ERROR, PADDED, PROTOCOL_ERROR } from "./protocol.ts";

export interface FrameEvents {
  /** A whole frame other than DATA; its payload is bytes[start, end), valid during the call. */
  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void;
  /** A DATA frame begins. @param length of its payload with padding: what flow control counts (RFC 9113 6.1) */
  dataBegins(stream: number, length: number, flags: number): void;
  /** A piece of its data; may be empty for none. */
  dataPart(bytes: Buffer, start: number, end: number): void;
  /** … ends. @param endStream it carried END_STREAM */
  dataEnds(endStream: boolean): void;
  /** The peer broke a rule of framing: the connection cannot go on. */
  broken(code: number, why: string): void;
}

export class FrameReader {
  /** frames longer than this are refused (SETTINGS_MAX_FRAME_SIZE that we announced) */
  readonly #lengthMax: number;
  #type = 0;
  #flags = 0;
  #stream = 0;
  #length = 0;
  /** bytes of the frame's head that came, kept in {@link #head} while it is incomplete */
  #headCount = 0;
  readonly #head = Buffer.alloc(frameHeadBytes);
  /** a frame other than DATA that came in part */
  #partial: Buffer | undefined;
  #partialCount = 0;
  /** inside DATA */
  #inData = false;
  #padLengthDue = false;
  #dataLeft = 0;
  #padLeft = 0;
  #stopped = false;

  constructor(
    readonly events: FrameEvents,
    lengthMax: number,
  ) {
    this.#lengthMax = lengthMax;
  }

  /** bytes that came of a frame other than DATA, or of a frame's head */
  get partial(): number {
    return this.#partial !== undefined ? frameHeadBytes + this.#partialCount : this.#headCount;
  }

  /** No more events: whoever listens has gone. */
  stop(): void {
    this.#stopped = true;
  }

  /** Reads bytes[at, end). Events may come from within, and may {@link stop} it. */
  feed(bytes: Buffer, at: number, end: number): void {
    while (!this.#stopped) {
      if (this.#inData) {
        at = this.#readData(bytes, at, end);
        if (this.#inData) return;
      } else if (this.#partial) {
        at = this.#readPartial(this.#partial, bytes, at, end);
        if (this.#partial) return;
      } else {
        if (at === end) return;
        at = this.#readHead(bytes, at, end);
      }
    }
  }

  /** @returns where to go on */
  #readHead(bytes: Buffer, at: number, end: number): number {
    if (this.#headCount > 0 || end - at < frameHeadBytes) {
      while (this.#headCount < frameHeadBytes && at < end) this.#head[this.#headCount++] = bytes[at++]!;
      if (this.#headCount < frameHeadBytes) return at;
      this.#headCount = 0;
      this.#takeHead(this.#head, 0);
    } else {
      this.#takeHead(bytes, at);
      at += frameHeadBytes;
    }
    if (this.#stopped) return at;
    const length = this.#length;
    if (length > this.#lengthMax) {
      this.#break(FRAME_SIZE_ERROR, "a frame longer than allowed");
      return at;
    }
    if (this.#type === DATA) {
      this.#inData = true;
      this.#padLengthDue = (this.#flags & PADDED) !== 0;
      this.#dataLeft = length;
      this.#padLeft = 0;
      if (this.#padLengthDue && length === 0) {
        this.#break(FRAME_SIZE_ERROR, "padding in an empty frame");
        return at;
      }
      this.events.dataBegins(this.#stream, length, this.#flags);
      return at;
    }
    if (end - at >= length) {
      this.events.frame(this.#type, this.#flags, this.#stream, bytes, at, at + length);
      return at + length;
    }
    this.#partial = Buffer.allocUnsafe(length);
    this.#partialCount = 0;
    return at;
  }

  #takeHead(bytes: Buffer, at: number): void {
    this.#length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    this.#type = bytes[at + 3]!;
    this.#flags = bytes[at + 4]!;
    this.#stream = ((bytes[at + 5]! & 127) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
  }

  #readPartial(partial: Buffer, bytes: Buffer, at: number, end: number): number {
    const take = Math.min(end - at, partial.length - this.#partialCount);
    bytes.copy(partial, this.#partialCount, at, at + take);
    this.#partialCount += take;
    if (this.#partialCount < partial.length) return at + take;
    this.#partial = undefined;
    this.events.frame(this.#type, this.#flags, this.#stream, partial, 0, partial.length);
    return at + take;
  }

  /** Takes what there is of the frame; {@link #inData} is false behind its end. */
  #readData(bytes: Buffer, at: number, end: number): number {
    if (this.#padLengthDue) {
      if (at === end) return at;
      this.#padLengthDue = false;
      this.#padLeft = bytes[at++]!;
      this.#dataLeft -= 1 + this.#padLeft;
      if (this.#dataLeft < 0) {
        this.#break(PROTOCOL_ERROR, "padding longer than its frame");
        return at;
      }
    }
    if (this.#dataLeft > 0) {
      if (at === end) return at;
      const to = Math.min(end, at + this.#dataLeft);
      this.#dataLeft -= to - at;
      this.events.dataPart(bytes, at, to);
      if (this.#stopped) return to;
      at = to;
      if (this.#dataLeft > 0) return at;
    }
    if (this.#padLeft > 0) {
      const skip = Math.min(end - at, this.#padLeft);
      this.#padLeft -= skip;
      at += skip;
      if (this.#padLeft > 0) return at;
    }
    this.#inData = false;
    this.events.dataEnds((this.#flags & END_STREAM) !== 0);
    return at;
  }

  #break(code: number, why: string): void {
    this.#stopped = true;
    this.events.broken(code, why);
  }
}
