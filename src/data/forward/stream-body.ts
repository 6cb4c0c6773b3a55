/** Bodies as web streams and back: only for the engines (`fetch`, `Bun.serve`) that need one. */
import { SilenceTimer } from "../../lib/silence-timer.ts";
import type { Body, BodySink } from "../body.ts";
import { Failure, type FailureCode } from "../failure.ts";

export interface StreamBodyOptions {
  /** Content-Length, or -1; a body that ends before it is cut short */
  readonly length: number;
  /** 0 = none; counted only while somebody wants the next chunk */
  readonly silenceMs: number;
  readonly onSilence: FailureCode;
  readonly onCut: FailureCode;
  /** words for the log */
  readonly source: string;
  /** called once, however the body ends; `complete` is false when it was cut or cancelled */
  onDone?(complete: boolean): void;
}

interface Reader {
  read(): Promise<{ done: boolean; value?: Uint8Array }>;
  cancel(): Promise<void>;
}

/** A ReadableStream as a Body. */
export class StreamBody implements Body {
  readonly length: number;
  #reader: Reader | undefined;
  #sink: BodySink | undefined;
  #timer: SilenceTimer | undefined;
  #received = 0;
  #paused = false;
  #pumping = false;
  #done = false;

  /** bytes so far */
  get received(): number {
    return this.#received;
  }

  constructor(
    readonly stream: ReadableStream<Uint8Array>,
    readonly options: StreamBodyOptions,
  ) {
    this.length = options.length;
  }

  start(sink: BodySink): void {
    this.#sink = sink;
    this.#reader = this.stream.getReader() as Reader;
    if (this.options.silenceMs > 0) {
      const { onSilence, source, silenceMs } = this.options;
      this.#timer = new SilenceTimer(silenceMs, () =>
        this.#fail(new Failure(onSilence, `${source} was silent for ${silenceMs / 1000} s`)),
      );
    }
    void this.#pump();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#timer?.release();
    void this.#pump();
  }

  cancel(): void {
    if (!this.#finish()) return;
    const swallow = () => {};
    (this.#reader ? this.#reader.cancel() : this.stream.cancel()).catch(swallow);
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#paused && !this.#done) {
        const { done, value } = await this.#reader!.read();
        if (this.#done) return;
        if (done || !value) return this.#end();
        this.#timer?.touch();
        this.#received += value.length;
        if (!this.#sink!.write(value)) {
          this.#paused = true;
          this.#timer?.hold();
        }
      }
    } catch (error) {
      this.#fail(
        error instanceof Failure
          ? error
          : new Failure(this.options.onCut, `${this.options.source} was cut: ${(error as Error)?.message ?? error}`),
      );
    } finally {
      this.#pumping = false;
    }
  }

  #end(): void {
    if (this.length >= 0 && this.#received !== this.length) {
      const { onCut, source } = this.options;
      return this.#fail(new Failure(onCut, `${source} ended after ${this.#received} of ${this.length} bytes`));
    }
    if (this.#finish(true)) this.#sink!.end();
  }

  #fail(failure: Failure): void {
    if (!this.#finish()) return;
    this.#reader?.cancel().catch(() => {});
    this.#sink?.fail(failure);
  }

  #finish(complete = false): boolean {
    if (this.#done) return false;
    this.#done = true;
    this.#timer?.stop();
    this.options.onDone?.(complete);
    return true;
  }
}

/** What happens to a body while it is read as a stream. */
export interface StreamWatch {
  /** the reader asks for more: from now on the silence is the body's */
  wanted?(): void;
  sent?(bytes: number): void;
  ended?(): void;
  failed?(failure: Failure): void;
  /** the reader wants no more */
  cancelled?(): void;
}

/** A Body as a ReadableStream: one chunk is asked for at a time, none before the reader asks. */
export function streamOf(body: Body, watch: StreamWatch = {}): ReadableStream<Uint8Array<ArrayBuffer>> {
  let started = false;
  let wanted: (() => void) | undefined;
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        return new Promise<void>((resolve) => {
          wanted = resolve;
          watch.wanted?.();
          const give = () => {
            wanted?.();
            wanted = undefined;
          };
          if (started) return body.resume();
          started = true;
          body.start({
            write(chunk) {
              watch.sent?.(chunk.length);
              if (chunk.length > 0) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
              give();
              return false;
            },
            end() {
              watch.ended?.();
              controller.close();
              give();
            },
            fail(failure) {
              watch.failed?.(failure);
              controller.error(failure);
              give();
            },
          });
        });
      },
      cancel() {
        watch.cancelled?.();
        body.cancel();
      },
    },
    { highWaterMark: 0 },
  );
}
