/**
 * Output: bytes on their way out of one connection. What belongs together is composed in one buffer and written once
 * (a write costs more than all our code, bun-facts 7); what the kernel does not take is kept and finished on `drain`.
 */
import { copiedChunkBytesMax, outputBufferBytes } from "../../lib/limits.ts";
import type { Transport } from "./transport.ts";

/** A method of Bun's and Node's Buffers that their types leave out: half the price of `write(text, at, "latin1")`. */
interface OutputBuffer extends Buffer {
  latin1Write(text: string, at: number, length: number): number;
}

/** One buffer serves nearly all connections: composing never waits. A second composer at the same time makes its own. */
let spare: OutputBuffer | undefined = Buffer.allocUnsafeSlow(outputBufferBytes) as OutputBuffer;

export class Output {
  /** bytes handed to the kernel or queued, ever: a mark for {@link discard} */
  writtenBytes = 0;
  /** bytes that the kernel has not taken */
  queuedBytes = 0;
  #buffer: OutputBuffer | undefined;
  #length = 0;
  /** none while the kernel takes everything */
  #queue: Uint8Array[] | undefined;

  constructor(readonly transport: Transport) {}

  /** bytes that still fit beside what is composed */
  get room(): number {
    return outputBufferBytes - this.#length;
  }

  /** Appends bytes[start, end), by copy. */
  copy(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length > outputBufferBytes - this.#length) {
      this.flush();
      if (length > outputBufferBytes) return this.#send(bytes.subarray(start, end));
    }
    this.#buffer ??= take();
    bytes.copy(this.#buffer, this.#length, start, end);
    this.#length += length;
  }

  /** Appends text of latin1 characters. */
  text(text: string): void {
    const { length } = text;
    if (length > outputBufferBytes - this.#length) {
      this.flush();
      if (length > outputBufferBytes) return this.#send(Buffer.from(text, "latin1"));
    }
    this.#buffer ??= take();
    this.#buffer.latin1Write(text, this.#length, length);
    this.#length += length;
  }

  /**
   * Appends a chunk that stays unchanged: beside what is composed it is copied, while that costs less than a write of its
   * own; else it is sent as it is.
   */
  chunk(bytes: Uint8Array): void {
    const { length } = bytes;
    if (this.#length > 0 && length <= copiedChunkBytesMax && length <= outputBufferBytes - this.#length) {
      this.#buffer!.set(bytes, this.#length);
      this.#length += length;
      return;
    }
    this.flush();
    this.#send(bytes);
  }

  /** Sends a chunk that stays unchanged, where nothing is composed. @returns true when nothing is queued */
  pass(bytes: Uint8Array): boolean {
    if (this.queuedBytes === 0) {
      const taken = this.transport.write(bytes);
      this.writtenBytes += bytes.length;
      if (taken === bytes.length || taken < 0) return true;
      this.#keep(bytes.subarray(taken));
    } else this.#send(bytes);
    return false;
  }

  /** Forgets what was composed and not written yet. @returns false when some of it is gone already */
  discard(mark: number): boolean {
    if (this.writtenBytes !== mark) return false;
    spare = this.#buffer ?? spare;
    this.#buffer = undefined;
    this.#length = 0;
    return true;
  }

  /** Writes what was composed. @returns true when nothing is queued */
  flush(): boolean {
    const buffer = this.#buffer;
    if (buffer) {
      const length = this.#length;
      this.writtenBytes += length;
      this.#buffer = undefined;
      this.#length = 0;
      let taken = 0;
      if (this.queuedBytes === 0) {
        taken = this.transport.write(buffer, 0, length);
        // Gone: `close` tells its own story.
        if (taken < 0) taken = length;
      }
      if (taken < length) this.#keep(Buffer.from(buffer.subarray(taken, length)));
      spare = buffer;
    }
    return this.queuedBytes === 0;
  }

  /** The transport takes bytes again. @returns true when nothing is queued any more */
  drain(): boolean {
    const queue = this.#queue;
    while (queue && queue.length > 0) {
      const chunk = queue[0]!;
      const taken = this.transport.write(chunk);
      if (taken < 0) {
        queue.length = 0;
        this.queuedBytes = 0;
        return true;
      }
      this.queuedBytes -= taken;
      if (taken < chunk.length) {
        queue[0] = chunk.subarray(taken);
        return false;
      }
      queue.shift();
    }
    return true;
  }

  /** Past everything composed: sent as it is, or kept by reference. */
  #send(bytes: Uint8Array): void {
    this.writtenBytes += bytes.length;
    if (this.queuedBytes > 0) return this.#keep(bytes);
    const taken = this.transport.write(bytes);
    if (taken >= 0 && taken < bytes.length) this.#keep(bytes.subarray(taken));
  }

  #keep(bytes: Uint8Array): void {
    (this.#queue ??= []).push(bytes);
    this.queuedBytes += bytes.length;
  }
}

function take(): OutputBuffer {
  const buffer = spare ?? (Buffer.allocUnsafeSlow(outputBufferBytes) as OutputBuffer);
  spare = undefined;
  return buffer;
}
