/** Bounds the health checks in flight, and keeps room for quick servers among slow ones. */

interface Job {
  readonly slow: boolean;
  readonly work: () => Promise<void>;
}

export class Lanes {
  readonly #quick: Job[] = [];
  readonly #slow: Job[] = [];
  #inFlight = 0;
  #slowInFlight = 0;

  /**
   * @param inFlightMax jobs at once
   * @param slowInFlightMax slow ones among them
   */
  constructor(
    readonly inFlightMax: number,
    readonly slowInFlightMax: number,
  ) {}

  /** Runs `work` now or as soon as there is room. It must not reject. */
  run(slow: boolean, work: () => Promise<void>): void {
    (slow ? this.#slow : this.#quick).push({ slow, work });
    this.#pump();
  }

  /** Forgets all that has not begun. */
  clear(): void {
    this.#quick.length = 0;
    this.#slow.length = 0;
  }

  #pump(): void {
    while (this.#inFlight < this.inFlightMax) {
      const job = this.#quick.shift() ?? (this.#slowInFlight < this.slowInFlightMax ? this.#slow.shift() : undefined);
      if (!job) return;
      this.#count(job, 1);
      void job.work().finally(() => {
        this.#count(job, -1);
        this.#pump();
      });
    }
  }

  #count(job: Job, by: 1 | -1): void {
    this.#inFlight += by;
    if (job.slow) this.#slowInFlight += by;
  }
}
