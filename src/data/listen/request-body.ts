/** The body of a request on a connection of ours: taken as the upstream takes it. */
import type { Body, BodySink, FieldLine } from "../body.ts";
import { Failure } from "../failure.ts";
import { ChunkedReader } from "../wire/chunked.ts";
import { feedJoined } from "../wire/joined-chunks.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Http1Connection } from "./http1.ts";

export class RequestBody implements Body {
  readonly length: number;
  received = 0;
  #remaining: number;
  readonly #chunks: ChunkedReader | undefined;
  readonly #expectsContinue: boolean;
  #sink: BodySink | undefined;
  #paused = true;
  #over = false;
  #complete = false;
  /** the client sends no more */
  #ended = false;
  #heardMs = performance.now();

  constructor(
    readonly connection: Http1Connection,
    head: RequestHead,
  ) {
    this.length = head.chunked ? -1 : head.contentLength;
    this.#remaining = this.length;
    this.#expectsContinue = head.expectContinue && head.minor === 1;
    if (head.chunked) this.#chunks = new ChunkedReader();
  }

  get expectsContinue(): boolean {
    return (
      this.#expectsContinue && this.#sink === undefined && this.received === 0 && this.connection.input === undefined
    );
  }

  start(sink: BodySink): void {
    const expected = this.expectsContinue;
    this.#sink = sink;
    this.#paused = false;
    this.#heardMs = performance.now();
    // RFC 9110 10.1.1: only now is the body wanted.
    if (expected) {
      this.connection.out.text("HTTP/1.1 100 Continue\r\n\r\n");
      this.connection.out.flush();
    }
    this.arrived();
    // What came before the upstream was ready may have paused the connection.
    if (!this.#paused) this.connection.unpause();
  }

  resume(): void {
    if (!this.#paused || this.#over) return;
    this.#paused = false;
    this.#heardMs = performance.now();
    this.arrived();
    if (!this.#paused) this.connection.unpause();
  }

  cancel(): void {
    this.#over = true;
  }

  /** Takes what the connection has read. */
  arrived(): void {
    if (this.#over || this.#complete) return;
    this.#heardMs = performance.now();
    while (!this.#paused && !this.#over && !this.#complete) {
      const { input } = this.connection;
      if (!input) break;
      if (this.#chunks) this.#feedChunks(input, this.#chunks);
      else {
        const length = Math.min(input.length, this.#remaining);
        this.#remaining -= length;
        this.connection.consumed(length, input.length);
        this.#push(length === input.length ? input : input.subarray(0, length));
        if (this.#remaining === 0) this.#end();
      }
    }
    if (this.#paused && this.connection.input && !this.#complete) this.connection.pause();
    this.#failIfShort();
  }

  /** What lies here may be all of it, although the upstream is not ready yet. */
  #failIfShort(): void {
    if (!this.#ended || this.#complete || this.#over || this.connection.input) return;
    this.#fail(new Failure("client_gone", "the client closed its side inside the request body"));
  }

  /** The client sent FIN. */
  ended(): void {
    this.#ended = true;
    this.#failIfShort();
  }

  cut(): void {
    this.#fail(new Failure("client_gone", "the client left inside the request body"));
  }

  sweep(nowMs: number, silenceMs: number): void {
    if (this.#over || this.#complete || this.#paused || silenceMs === 0 || nowMs - this.#heardMs <= silenceMs) return;
    this.#fail(new Failure("client_timeout", `the request body was silent for ${silenceMs / 1000} s`));
  }

  /** The answer is written. @returns true when the request was read to its end, so that another may follow */
  finish(): boolean {
    this.#over = true;
    if (this.#complete) return true;
    // What already lies here may be all of it.
    this.#sink = { write: () => true, end() {}, fail() {} };
    this.#over = false;
    this.#paused = false;
    this.arrived();
    this.#over = true;
    return this.#complete;
  }

  #feedChunks(input: Buffer, chunks: ChunkedReader): void {
    const { length } = input;
    const to = feedJoined(chunks, input, 0, length, { data: (bytes) => (this.#push(bytes), !this.#paused) });
    this.connection.consumed(to, length);
    if (chunks.error)
      this.#fail(new Failure("client_body_bad", `the request body is not validly chunked: ${chunks.error}`));
    else if (chunks.done) this.#end(chunks.trailers);
  }

  #push(bytes: Buffer): void {
    this.received += bytes.length;
    if (bytes.length > 0 && !this.#sink!.write(bytes)) this.#paused = true;
  }

  #end(trailers?: readonly FieldLine[]): void {
    this.#complete = true;
    this.#sink!.end(trailers);
  }

  #fail(failure: Failure): void {
    if (this.#over || this.#complete) return;
    this.#over = true;
    this.#sink?.fail(failure);
  }
}
