/**
 * A message body as a source with backpressure: chunks of bytes are pushed into a sink, which may pause them.
 * Engines adapt it to streams only where `fetch` or `Bun.serve` needs one.
 */
import type { Failure } from "./failure.ts";

export type FieldLine = readonly [name: string, value: string];

export interface BodySink {
  /** @returns false to pause: no further chunk comes until {@link Body.resume} */
  write(chunk: Uint8Array): boolean;
  /** The body is complete. */
  end(trailers?: readonly FieldLine[]): void;
  /** The body is cut short and must never look complete to whoever reads the sink. */
  fail(failure: Failure): void;
}

export interface Body {
  /** bytes announced by Content-Length, or -1 */
  readonly length: number;
  /** Its sender waits for a 100 before it sends anything (RFC 9110 10.1.1); starting it sends that. */
  readonly expectsContinue?: boolean;
  /** {@link start} will come later: until then the source should not read ahead. */
  hold?(): void;
  /** Begins to push into `sink`; called once. */
  start(sink: BodySink): void;
  /** Goes on after a `write` that returned false. */
  resume(): void;
  /** Nobody wants the rest; the source may close its connection. Harmless when the body has ended. */
  cancel(): void;
}
