/** Retry budget: retries at most a share of recent requests, so that failing upstreams do not see a multiple of the load. */
import { retriesPerSecondFree } from "../../lib/limits.ts";

const windowSeconds = 10;

export class RetryBudget {
  readonly #requests = new Float64Array(windowSeconds);
  readonly #retries = new Float64Array(windowSeconds);
  #second = 0;

  countRequest(nowMs: number): void {
    this.#advance(nowMs);
    this.#requests[this.#second % windowSeconds]!++;
  }

  /**
   * Takes one retry out of the budget.
   * @param percent of the requests of the last 10 s; 0 = no budget
   * @returns false when the budget is used up
   */
  take(nowMs: number, percent: number): boolean {
    this.#advance(nowMs);
    const slot = this.#second % windowSeconds;
    const within =
      percent === 0 ||
      this.#retries[slot]! < retriesPerSecondFree ||
      sum(this.#retries) < (sum(this.#requests) * percent) / 100;
    if (within) this.#retries[slot]!++;
    return within;
  }

  #advance(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    if (second <= this.#second) return;
    for (let i = Math.max(this.#second + 1, second - windowSeconds + 1); i <= second; i++) {
      this.#requests[i % windowSeconds] = 0;
      this.#retries[i % windowSeconds] = 0;
    }
    this.#second = second;
  }
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}
