/** Histogram: durations counted in fixed buckets, for the hot path: one short search, two additions, nothing made. */

/** Upper bounds of the buckets in seconds, ascending. */
export type Bounds = readonly number[];

/** The original's buckets, and further ones below, between and above them: its dashboards find theirs. */
export const durationBounds: Bounds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2, 5, 10, 60,
];

/** What a proxy adds is a matter of microseconds, until something waits. */
export const overheadBounds: Bounds = [
  0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1,
];

/** What a histogram holds, or by how much it has grown, as plain data. */
export interface HistogramFigures {
  readonly counts: Float64Array;
  readonly sumMs: number;
}

export class Histogram {
  readonly #boundsMs: Float64Array;
  /** of each bucket alone; the last one has no bound */
  readonly counts: Float64Array;
  sumMs = 0;

  constructor(readonly bounds: Bounds) {
    this.#boundsMs = Float64Array.from(bounds, (seconds) => seconds * 1000);
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(ms: number): void {
    const bounds = this.#boundsMs;
    let i = 0;
    // Nearly all of what a proxy sees falls into the first few buckets.
    while (i < bounds.length && ms > bounds[i]!) i++;
    this.counts[i]!++;
    this.sumMs += ms;
  }

  get total(): number {
    let total = 0;
    for (const count of this.counts) total += count;
    return total;
  }

  /** Adds what another histogram of the same bounds has counted. */
  add(other: Histogram): void {
    this.addFigures(other);
  }

  figures(): HistogramFigures {
    return { counts: this.counts.slice(), sumMs: this.sumMs };
  }

  addFigures({ counts, sumMs }: HistogramFigures): void {
    for (let i = 0; i < this.counts.length; i++) this.counts[i]! += counts[i]!;
    this.sumMs += sumMs;
  }
}
