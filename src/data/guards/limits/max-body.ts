/** `max_body`: 413 (RFC 9110 15.5.14) before anything else costs, or while a body without a length is read. */
import type { Body, BodySink, FieldLine } from "../../body.ts";
import { Failure } from "../../failure.ts";
import { refuse, type Guard } from "../guard.ts";

/** Refuses by Content-Length; {@link LimitedBody} holds the rest. */
export function maxBody(bytesMax: number): Guard {
  return {
    name: "max_body",
    check({ body }) {
      if (!body || body.length <= bytesMax) return undefined;
      return refuse(413, tooLarge, [], `a body of ${body.length} bytes is more than \`max_body: ${bytesMax}\``);
    },
  };
}

const tooLarge = "the request body is larger than this route allows";

/** A body that is cut as soon as it is longer than allowed. */
export class LimitedBody implements Body, BodySink {
  readonly length: number;
  #received = 0;
  #over = false;
  #sink: BodySink | undefined;

  constructor(
    readonly source: Body,
    readonly bytesMax: number,
  ) {
    this.length = source.length;
  }

  get expectsContinue(): boolean {
    return this.source.expectsContinue === true;
  }

  start(sink: BodySink): void {
    this.#sink = sink;
    this.source.start(this);
  }

  resume(): void {
    if (!this.#over) this.source.resume();
  }

  cancel(): void {
    this.#over = true;
    this.source.cancel();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#over) return false;
    this.#received += chunk.length;
    if (this.#received <= this.bytesMax) return this.#sink!.write(chunk);
    this.cancel();
    this.#sink!.fail(
      new Failure("client_body_too_large", `the request body is more than \`max_body: ${this.bytesMax}\``),
    );
    return false;
  }

  end(trailers?: readonly FieldLine[]): void {
    // What holds the byte too many may hold the end of the body as well.
    if (!this.#over) this.#sink!.end(trailers);
  }

  fail(failure: Failure): void {
    if (!this.#over) this.#sink!.fail(failure);
  }
}
