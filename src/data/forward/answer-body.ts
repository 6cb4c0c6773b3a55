/** The body of an answer on a connection of ours: pushed as it arrives; pausing it pauses the connection. */
import { releasedBytesMin } from "../../lib/limits.ts";
import { release } from "../../lib/release.ts";
import type { Body, BodySink, FieldLine } from "../body.ts";
import { Failure } from "../failure.ts";
import { ChunkedReader } from "../wire/chunked.ts";
import { feedJoined } from "../wire/joined-chunks.ts";
import type { Output } from "../wire/output.ts";
import type { UpstreamConnection } from "./upstream-connection.ts";

export class AnswerBody implements Body {
  #sink: BodySink | undefined;
  #paused = true;
  #stopped = false;
  /** close-delimited, and the connection has ended */
  #ended = false;
  #remaining: number;
  #chunks: ChunkedReader | undefined;
  #over = false;
  #heardMs: number;

  constructor(
    readonly connection: UpstreamConnection,
    readonly kind: "length" | "chunked" | "close",
    readonly length: number,
    readonly silenceMs: number,
    nowMs: number,
  ) {
    this.#remaining = length;
    this.#heardMs = nowMs;
    if (kind === "chunked") this.#chunks = new ChunkedReader();
  }

  hold(): void {
    if (this.#stopped || this.#over) return;
    this.#stopped = true;
    this.connection.transport.pause();
  }

  start(sink: BodySink): void {
    this.#sink = sink;
    // What came before there was a sink has stopped the connection.
    if (this.#stopped) return this.resume();
    this.#paused = false;
    this.feed();
  }

  /**
   * Copies the whole body, instead of {@link start}, where all of it is here already and fits.
   * @returns false when it must be started
   */
  copyTo(out: Pick<Output, "room" | "copy">): boolean {
    const { input, at } = this.connection;
    const end = at + this.length;
    if (this.kind !== "length" || !input || input.length < end || this.length > out.room) return false;
    out.copy(input, at, end);
    const { length } = input;
    this.connection.consumed(end, length);
    // Whoever copies the body has copied the head before.
    if (end === length && length >= releasedBytesMin) release(input);
    this.#over = true;
    this.connection.finish();
    return true;
  }

  resume(): void {
    if (!this.#paused || this.#over) return;
    this.#paused = false;
    this.#heardMs = performance.now();
    this.feed();
    if (!this.#paused && this.#stopped && !this.#over) {
      this.#stopped = false;
      this.connection.transport.resume();
    }
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.connection.fail(new Failure("client_gone", "the answer is not wanted"));
  }

  fail(failure: Failure): void {
    if (this.#over) return;
    this.#over = true;
    this.#sink?.fail(failure);
  }

  /**
   * Whether the connection may end here. A body delimited by that is complete with a FIN, never with a reset; one whose
   * last bytes have come already only waits for its reader.
   */
  endsWithConnection(error: Error | undefined): boolean {
    const { input, at } = this.connection;
    if (this.kind === "length" && !this.#over && input && input.length - at >= this.#remaining) return true;
    if (this.kind !== "close" || error || this.#over) return false;
    this.#ended = true;
    if (!this.#paused) this.#complete();
    return true;
  }

  sweep(nowMs: number): void {
    if (this.#over || this.#paused || this.silenceMs === 0 || nowMs - this.#heardMs <= this.silenceMs) return;
    this.connection.fail(
      new Failure("body_timeout", `the answer of ${this.connection.name} was silent for ${this.silenceMs / 1000} s`),
    );
  }

  /** Takes what the connection has read. */
  feed(): void {
    const { connection } = this;
    this.#heardMs = Math.max(this.#heardMs, connection.heardMs);
    while (!this.#paused && !this.#over && connection.input) {
      const { input, at } = connection;
      if (this.kind === "chunked") this.#feedChunks(input, at);
      else {
        const end = this.kind === "length" ? Math.min(input.length, at + this.#remaining) : input.length;
        connection.consumed(end, input.length);
        this.#remaining -= end - at;
        this.#push(at === 0 && end === input.length ? input : input.subarray(at, end));
        if (this.kind === "length" && this.#remaining === 0 && !this.#over) return this.#complete();
      }
    }
    if (this.#ended && !this.#paused && !this.#over) return this.#complete();
    if (this.#paused && !this.#over && connection.input && !this.#stopped) {
      this.#stopped = true;
      connection.transport.pause();
    }
  }

  #feedChunks(input: Buffer, at: number): void {
    const reader = this.#chunks!;
    const { length } = input;
    const to = feedJoined(reader, input, at, length, { data: (bytes) => (this.#push(bytes), !this.#paused) });
    this.connection.consumed(to, length);
    if (reader.error)
      return this.connection.fail(
        new Failure("body_cut", `the answer of ${this.connection.name} is no valid chunked body: ${reader.error}`),
      );
    if (reader.done) this.#complete(reader.trailers);
  }

  #push(bytes: Buffer): void {
    if (bytes.length > 0 && !this.#sink!.write(bytes)) this.#paused = true;
  }

  #complete(trailers?: readonly FieldLine[]): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#stopped) this.connection.transport.resume();
    // The connection first: what the sink does next may want it.
    this.connection.finish();
    this.#sink!.end(trailers);
  }
}
