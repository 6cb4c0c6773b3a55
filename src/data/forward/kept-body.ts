/**
 * KeptBody: a request body that can be sent again. What was read so far is kept up to a bound; each try reads it from
 * its beginning and then goes on with the live source.
 */
import { release } from "../../lib/release.ts";
import type { Body, BodySink, FieldLine } from "../body.ts";
import type { Failure } from "../failure.ts";

export class KeptBody {
  readonly length: number;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #overflowed = false;
  #started = false;
  #sourcePaused = false;
  #ended: { trailers: readonly FieldLine[] | undefined } | undefined;
  #failure: Failure | undefined;
  #current: AttemptBody | undefined;
  /** the last chunk that was not kept: the try that asks for more has passed it on */
  #spent: Uint8Array | undefined;

  /** @param keepBytesMax how much is kept; the first chunk is kept whatever its size, since it is in memory anyway */
  constructor(
    readonly source: Body,
    readonly keepBytesMax: number,
  ) {
    this.length = source.length;
  }

  /** Everything read so far can be sent again. */
  get repeatable(): boolean {
    return !this.#overflowed && !this.#failure;
  }

  /** The body has been read to its end. */
  get complete(): boolean {
    return this.#ended !== undefined;
  }

  /** Nothing of it was asked for yet, and its sender waits to be asked. */
  get expectsContinue(): boolean {
    return !this.#started && this.source.expectsContinue === true;
  }

  /** A body for one try; the one before it gets nothing any more. */
  attempt(): Body {
    return (this.#current = new AttemptBody(this));
  }

  cancel(): void {
    this.#current = undefined;
    if (this.#ended === undefined && this.#failure === undefined) this.source.cancel();
  }

  /** @internal what the try has not seen yet, or undefined when more must come from the source */
  next(position: number): Uint8Array | undefined {
    return this.#kept[position];
  }

  /** @internal */
  isCurrent(body: AttemptBody): boolean {
    return this.#current === body;
  }

  /** @internal the try has taken all that is kept: give it the end, or let the source go on */
  more(body: AttemptBody): void {
    if (this.#failure) body.fail(this.#failure);
    else if (this.#ended) body.end(this.#ended.trailers);
    else if (!this.#started) {
      this.#started = true;
      this.source.start({
        write: (chunk) => this.#write(chunk),
        end: (trailers) => {
          this.#ended = { trailers };
          this.#current?.flow();
        },
        fail: (failure) => {
          this.#failure = failure;
          this.#current?.flow();
        },
      });
    } else if (this.#sourcePaused) {
      this.#sourcePaused = false;
      release(this.#spent);
      this.#spent = undefined;
      this.source.resume();
    }
  }

  #write(chunk: Uint8Array): boolean {
    const fits = this.#kept.length === 0 || this.#keptBytes + chunk.length <= this.keepBytesMax;
    if (!this.#overflowed && fits) {
      this.#kept.push(chunk);
      this.#keptBytes += chunk.length;
      this.#current?.flow();
    } else {
      // A try that reads live chunks has taken everything before them, so what was kept is of no more use.
      this.#overflowed = true;
      this.#kept = [];
      this.#current?.live(chunk);
      // A try that goes on at once has written or copied it.
      if (this.#current?.wants) release(chunk);
      else this.#spent = chunk;
    }
    this.#sourcePaused = this.#current === undefined || !this.#current.wants;
    return !this.#sourcePaused;
  }
}

class AttemptBody implements Body {
  #position = 0;
  #sink: BodySink | undefined;
  #paused = false;
  #done = false;
  #flowing = false;

  constructor(readonly kept: KeptBody) {}

  get length(): number {
    return this.kept.length;
  }

  get expectsContinue(): boolean {
    return this.kept.expectsContinue;
  }

  get wants(): boolean {
    return !this.#paused && !this.#done;
  }

  start(sink: BodySink): void {
    this.#sink = sink;
    this.flow();
  }

  resume(): void {
    this.#paused = false;
    this.flow();
  }

  /** The upstream is gone; the source stays for another try. */
  cancel(): void {
    this.#done = true;
  }

  live(chunk: Uint8Array): void {
    if (!this.#done && !this.#sink!.write(chunk)) this.#paused = true;
  }

  flow(): void {
    if (this.#flowing || !this.#sink || !this.kept.isCurrent(this)) return;
    this.#flowing = true;
    let chunk: Uint8Array | undefined;
    while (this.wants && (chunk = this.kept.next(this.#position))) {
      this.#position++;
      if (!this.#sink.write(chunk)) this.#paused = true;
    }
    // A source may push from within `more`: that comes back here, one level deeper.
    this.#flowing = false;
    if (this.wants) this.kept.more(this);
  }

  end(trailers: readonly FieldLine[] | undefined): void {
    this.#done = true;
    this.#sink!.end(trailers);
  }

  fail(failure: Failure): void {
    this.#done = true;
    this.#sink!.fail(failure);
  }
}
