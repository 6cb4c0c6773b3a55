/** Latencies of millions of requests in little memory: counts of 10 µs steps. */

const stepUs = 10;
/** 10 s; later ones count as this. */
const steps = 1_000_000;

export class Latencies {
  readonly #counts = new Uint32Array(steps + 1);
  total = 0;

  add(ms: number): void {
    this.#counts[Math.min(steps, Math.max(0, (ms * (1000 / stepUs)) | 0))]!++;
    this.total++;
  }

  /** @param share 0–1. @returns µs, the upper end of its step; 0 when nothing was added */
  percentileUs(share: number): number {
    let left = Math.ceil(this.total * share);
    if (left === 0) return 0;
    for (let step = 0; ; step++) {
      left -= this.#counts[step]!;
      if (left <= 0) return (step + 1) * stepUs;
    }
  }
}
