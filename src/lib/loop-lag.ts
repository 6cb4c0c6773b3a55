/** LoopLag: for how long this process itself stood still, while somebody wants to know. */

export class LoopLag {
  /** stand-stills of the event loop so far, in ms: a difference of two readings tells about the time between */
  stalledMs = 0;
  #users = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastMs = 0;

  /** @param everyMs how often is looked; what is shorter than twice this goes unseen */
  constructor(readonly everyMs: number) {}

  /** @returns a function to call once when it is no longer of interest */
  watch(): () => void {
    this.#users++;
    if (!this.#timer) {
      this.#lastMs = performance.now();
      this.#timer = setInterval(() => this.#look(), this.everyMs);
      this.#timer.unref();
    }
    return () => {
      // The timer may be behind just now.
      this.#look();
      if (--this.#users > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  #look(): void {
    const nowMs = performance.now();
    const gapMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (gapMs > 2 * this.everyMs) this.stalledMs += gapMs - this.everyMs;
  }
}
