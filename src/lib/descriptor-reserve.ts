/**
 * DescriptorReserve: keeps accepting away from the limit of open files.
 *
 * BUN(1.4.4): when accept fails with EMFILE, the connection stays in the kernel's queue and the loop tries again at once,
 * with a whole core (accept4 5,000 times a second, measured with `ulimit -n 64`); remove when it waits, or when a listener
 * can be paused.
 *
 * Two halves. A new socket tells by its number how many files are open, since the kernel gives out the lowest free one:
 * from a number on, it is turned away, and its descriptor is free again before the next accept. Where something else took
 * the last descriptors, a spare one is given up for accept to succeed with, so that it can be turned away too.
 */
import { closeSync, openSync } from "node:fs";
import { descriptorsLeft, descriptorsMax } from "./descriptors.ts";
import { descriptorLookMs, descriptorsReservedMax } from "./limits.ts";

export class DescriptorReserve {
  /** sockets with this number or a higher one are turned away */
  readonly ceiling: number;
  /** descriptors from the ceiling up to the limit */
  readonly size: number;
  #spare: number | undefined;
  #exhausted = false;
  #holders = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param max the limit of open files of this process */
  constructor(readonly max: number) {
    this.size = Math.min(descriptorsReservedMax, Math.max(2, Math.floor(max / 10)));
    this.ceiling = max - this.size;
  }

  /** No file could be opened when it was last looked: whoever can do without a new one should. */
  get exhausted(): boolean {
    return this.#exhausted;
  }

  /** Whether a connection just accepted must be turned away. @param fd its descriptor; -1 = unknown */
  refuses(fd: number): boolean {
    return this.#exhausted || fd >= this.ceiling;
  }

  /** A listener opens: the spare descriptor is kept, and looked after, until as many have let go. */
  hold(): void {
    if (this.#holders++ > 0) return;
    this.#take();
    this.#timer = setInterval(() => this.look(), descriptorLookMs);
    this.#timer.unref();
  }

  letGo(): void {
    if (--this.#holders > 0) return;
    clearInterval(this.#timer);
    this.#release();
    this.#exhausted = false;
  }

  /** Gives the spare up when no other descriptor is left, and takes it back when there are two. */
  look(): void {
    if (this.#spare === undefined) this.#take();
    this.#exhausted = this.#spare === undefined || !descriptorsLeft();
    if (this.#exhausted) this.#release();
  }

  #take(): void {
    try {
      this.#spare = openSync("/dev/null", "r");
    } catch {}
  }

  #release(): void {
    if (this.#spare === undefined) return;
    closeSync(this.#spare);
    this.#spare = undefined;
  }
}

/** That of this process. */
export const descriptorReserve = new DescriptorReserve(descriptorsMax());
