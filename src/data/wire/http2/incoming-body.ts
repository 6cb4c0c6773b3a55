/** The body of a message on a stream: pushed as it comes; while its sink pauses, the stream's window fills up. */
import type { Body, BodySink, FieldLine } from "../../body.ts";
import type { Failure } from "../../failure.ts";
import type { Stream } from "./stream.ts";

/** Pieces up to this size are copied: they must not keep a buffer alive that is a hundred times as large. */
const copiedBytesMax = 4_096;

export class IncomingBody implements Body {
  received = 0;
  /** something moved since the last look: bytes came, or were wanted again */
  #moved = true;
  #movedMs = 0;
  #sink: BodySink | undefined;
  #paused = true;
  #flowing = false;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #ended = false;
  #trailers: readonly FieldLine[] | undefined;
  #failure: Failure | undefined;
  #over = false;

  /** @param onCancel nobody wants the rest; not called when it has all come */
  constructor(
    readonly stream: Stream,
    readonly length: number,
    readonly onCancel: () => void,
    /** somebody wants it now */
    readonly onStart?: () => void,
  ) {}

  /** the peer could send, and somebody waits for it */
  get wanted(): boolean {
    return !this.#paused && !this.#ended && !this.#over;
  }

  /** Its sender waits for a 100 (RFC 9110 10.1.1), which starting it sends. */
  get expectsContinue(): boolean {
    return this.onStart !== undefined && this.#sink === undefined && this.received === 0;
  }

  /**
   * Milliseconds for which nothing has moved, as far as earlier calls have seen: so much later than by the clock, never
   * earlier, and without reading one for each chunk.
   */
  silentMs(nowMs: number): number {
    if (this.#moved) this.#movedMs = nowMs;
    this.#moved = false;
    return nowMs - this.#movedMs;
  }

  /** everything has come */
  get complete(): boolean {
    return this.#ended;
  }

  start(sink: BodySink): void {
    this.#sink = sink;
    this.onStart?.();
    this.resume();
  }

  resume(): void {
    if (!this.#paused || this.#over) return;
    this.#paused = false;
    this.#moved = true;
    this.#flow();
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#drop();
    if (!this.#ended && !this.#failure) this.onCancel();
  }

  /** Takes bytes[start, end) off the wire. */
  push(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    this.received += length;
    this.#moved = true;
    if (this.#over) return this.stream.consumed(length);
    if (this.#paused || this.#queue.length > 0) {
      // A copy: what waits is counted, and what it came in may be far larger.
      this.#queue.push(copyOf(bytes, start, end));
      this.#queuedBytes += length;
      this.stream.connection.queuedBytes.add(length);
      return this.stream.queues(this.#queuedBytes);
    }
    if (length <= copiedBytesMax && length < bytes.length) return this.#give(copyOf(bytes, start, end), length);
    this.stream.connection.chunkIsLent = true;
    this.#give(length === bytes.length ? bytes : bytes.subarray(start, end), length);
  }

  /** The peer has said everything. */
  end(trailers: readonly FieldLine[] | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
    if (!this.#paused) this.#flow();
  }

  /** It is cut short. What has come already is of no use any more. */
  fail(failure: Failure): void {
    if (this.#over || this.#failure || this.#ended) return;
    this.#failure = failure;
    this.#drop();
    if (this.#sink) this.#flow();
  }

  #flow(): void {
    if (this.#flowing || !this.#sink) return;
    this.#flowing = true;
    while (!this.#paused && this.#queue.length > 0) {
      const chunk = this.#queue.shift()!;
      this.#queuedBytes -= chunk.length;
      this.stream.connection.queuedBytes.remove(chunk.length);
      this.#give(chunk, chunk.length);
    }
    this.#flowing = false;
    if (this.#over) return;
    if (this.#failure) {
      this.#over = true;
      this.#sink.fail(this.#failure);
    } else if (this.#ended && !this.#paused && this.#queue.length === 0) {
      this.#over = true;
      this.#sink.end(this.#trailers);
    }
  }

  /** @param length of the chunk: whoever got it may have given its memory back */
  #give(chunk: Uint8Array, length: number): void {
    if (!this.#sink!.write(chunk)) this.#paused = true;
    this.stream.consumed(length);
  }

  #drop(): void {
    if (this.#queuedBytes === 0) return;
    this.#queue.length = 0;
    this.stream.connection.queuedBytes.remove(this.#queuedBytes);
    this.stream.consumed(this.#queuedBytes);
    this.#queuedBytes = 0;
  }
}

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}
