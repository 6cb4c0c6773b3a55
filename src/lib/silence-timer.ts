/** A timer that fires after a time of silence. Touching it is a store, not a new timer: the one timer re-arms itself late. */

export class SilenceTimer {
  #lastMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #held = false;

  /** @param silenceMs 0 = never fires */
  constructor(
    readonly silenceMs: number,
    readonly act: () => void,
  ) {
    this.#lastMs = performance.now();
    if (silenceMs > 0) this.#arm(silenceMs);
  }

  /** Something moved. */
  touch(): void {
    this.#lastMs = performance.now();
  }

  /** The silence is somebody else's: it does not count until {@link release}. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.touch();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(afterMs: number): void {
    this.#timer = setTimeout(() => {
      const left = this.#held ? this.silenceMs : this.#lastMs + this.silenceMs - performance.now();
      if (left > 0) return this.#arm(Math.max(left, 1));
      this.#timer = undefined;
      this.act();
    }, afterMs);
  }
}
