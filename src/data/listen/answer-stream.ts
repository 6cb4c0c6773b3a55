/**
 * AnswerStream: an answer's body on its way into a Response of Bun.serve: counted, cut when it is cut, and given up when
 * the client does not read.
 */
import { release } from "../../lib/release.ts";
import { SilenceTimer } from "../../lib/silence-timer.ts";
import type { Body } from "../body.ts";
import { Failure } from "../failure.ts";

export interface Outcome {
  readonly bytes: number;
  /** the client did not get all of it */
  readonly cut: boolean;
  /** why, unless the client itself left */
  readonly failure?: Failure;
}

export class AnswerStream {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #over: { readonly failure?: Failure } | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #collecting: (() => void) | undefined;
  #wanted: (() => void) | undefined;
  #started = false;
  #unread: SilenceTimer | undefined;
  /** Bun has it; when Bun asks for more it has written or copied it */
  #given: Uint8Array | undefined;

  /**
   * @param writeMs how long a client may read nothing; 0 = no bound
   * @param onOver called once
   */
  constructor(
    readonly body: Body,
    readonly writeMs: number,
    readonly onOver: (outcome: Outcome) => void,
  ) {}

  /**
   * BUN(1.4.4): a streamed Response loses its Content-Length, so a small body is collected first, for a moment; remove
   * when a stream keeps it.
   * @returns the whole body, or undefined when it did not arrive in time or was cut: then it goes on as a stream
   */
  async collect(waitMs: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#collecting = resolve;
      timer = setTimeout(resolve, waitMs);
      this.#start();
    });
    clearTimeout(timer);
    this.#collecting = undefined;
    if (!this.#over || this.#over.failure) return undefined;
    return this.#chunks.length === 1
      ? (this.#chunks[0] as Uint8Array<ArrayBuffer>)
      : new Uint8Array(Buffer.concat(this.#chunks));
  }

  readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    // Bun pulls when the client has taken what came before; between two pulls the silence is the client's.
    this.#unread = new SilenceTimer(this.writeMs, () => this.#giveUp());
    return new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () =>
          new Promise<void>((resolve) => {
            this.#wanted = resolve;
            release(this.#given);
            this.#given = undefined;
            this.#unread!.hold();
            if (this.#give()) return;
            if (this.#started) this.body.resume();
            else this.#start();
          }),
        cancel: () => {
          if (this.#over) return;
          this.body.cancel();
          this.#end({}, true);
        },
      },
      { highWaterMark: 0 },
    );
  }

  #start(): void {
    this.#started = true;
    this.body.start({
      write: (chunk) => {
        this.#bytes += chunk.length;
        if (chunk.length > 0) this.#chunks.push(chunk);
        if (this.#controller) {
          this.#give();
          return false;
        }
        return this.#collecting !== undefined;
      },
      end: () => this.#end({}, false),
      fail: (failure) => this.#end({ failure }, true),
    });
  }

  #giveUp(): void {
    if (this.#over) return;
    this.body.cancel();
    this.#end({ failure: new Failure("client_timeout", `the client read nothing for ${this.writeMs / 1000} s`) }, true);
  }

  #end(over: { failure?: Failure }, cut: boolean): void {
    if (this.#over) return;
    this.#over = over;
    this.onOver({ bytes: this.#bytes, cut, ...over });
    this.#collecting?.();
    if (this.#controller) this.#give();
  }

  /** Hands over what is there. @returns false when the source must be asked */
  #give(): boolean {
    const controller = this.#controller!;
    const given = this.#chunks.length > 0;
    for (const chunk of this.#chunks) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
    this.#given = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    this.#chunks = [];
    if (this.#over) {
      this.#unread?.stop();
      if (this.#over.failure) controller.error(this.#over.failure);
      else if (this.#wanted || given) close(controller);
    }
    if (!given && !this.#over) return false;
    this.#unread?.release();
    this.#wanted?.();
    this.#wanted = undefined;
    return true;
  }
}

/** A stream that its reader has cancelled cannot be closed any more. */
function close(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
  try {
    controller.close();
  } catch {}
}
