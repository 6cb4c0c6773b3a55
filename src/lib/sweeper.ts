/** Sweeper: one clock for the timeouts of all connections, instead of a timer for each. */
import { NumberedSet, type Numbered } from "./numbered-set.ts";

export interface Swept extends Numbered {
  /** @param nowMs performance.now() */
  sweep(nowMs: number): void;
}

export class Sweeper {
  readonly #entries = new NumberedSet<Swept>();
  #timer: ReturnType<typeof setInterval> | undefined;
  /**
   * When the next sweep is due, by performance.now(): a clock that costs nothing to read. A silence counted from here is
   * noticed up to {@link everyMs} late, never early. 0 until something was added.
   */
  dueMs = 0;

  /** @param everyMs a timeout is noticed at most so much later */
  constructor(readonly everyMs: number) {}

  get size(): number {
    return this.#entries.size;
  }

  add(entry: Swept): void {
    this.#entries.add(entry);
    if (this.#timer) return;
    this.dueMs = performance.now() + this.everyMs;
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      this.dueMs = nowMs + this.everyMs;
      for (const each of this.#entries) each.sweep(nowMs);
    }, this.everyMs);
    this.#timer.unref();
  }

  delete(entry: Swept): void {
    this.#entries.delete(entry);
    if (this.#entries.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
