/** RouteCounters: what has happened on one route, in plain numbers. Slots are made when they are first needed. */
import { durationBounds, Histogram, type HistogramFigures } from "./histogram.ts";
import { methodLabels, methodSlot, statusLabels, statusSlot } from "./slots.ts";

const bytesIn = 0;
const bytesOut = 1;
const retries = 2;

/** What counters hold, or by how much they have grown, as plain data. */
export interface RouteFigures {
  /** by method's slot: requests by status's slot */
  readonly rows: readonly (Float64Array | undefined)[];
  readonly sums: Float64Array;
  readonly denied: ReadonlyMap<string, number>;
  readonly duration: HistogramFigures;
}

export class RouteCounters {
  /** by method: requests by status */
  #rows: (Float64Array | undefined)[] = new Array<undefined>(methodLabels.length).fill(undefined);
  #sums = new Float64Array(3);
  #denied = new Map<string, number>();
  /** from the request's head to the end of the answer; WebSockets and tunnels are left out */
  duration = new Histogram(durationBounds);

  /** @param host pattern as matched @param route its name */
  constructor(
    readonly host: string,
    readonly route: string,
  ) {}

  /** @returns nothing is made but the first time that a method is seen */
  count(method: string, status: number): void {
    (this.#rows[methodSlot(method)] ??= new Float64Array(statusLabels.length))[statusSlot(status)]!++;
  }

  carried(requestBytes: number, answerBytes: number): void {
    this.#sums[bytesIn]! += requestBytes;
    this.#sums[bytesOut]! += answerBytes;
  }

  retried(times: number): void {
    this.#sums[retries]! += times;
  }

  /** @param by the guard or check, never a word of the client's */
  denied(by: string): void {
    this.#denied.set(by, (this.#denied.get(by) ?? 0) + 1);
  }

  get requestBytes(): number {
    return this.#sums[bytesIn]!;
  }

  get answerBytes(): number {
    return this.#sums[bytesOut]!;
  }

  get retries(): number {
    return this.#sums[retries]!;
  }

  get refusals(): ReadonlyMap<string, number> {
    return this.#denied;
  }

  get requests(): number {
    let total = 0;
    this.each((_method, _status, count) => (total += count));
    return total;
  }

  /** Methods and statuses that have been seen, by their labels. */
  each(visit: (method: string, status: string, count: number) => void): void {
    this.#rows.forEach((row, method) =>
      row?.forEach((count, status) => {
        if (count > 0) visit(methodLabels[method]!, statusLabels[status]!, count);
      }),
    );
  }

  figures(): RouteFigures {
    return {
      rows: this.#rows.map((row) => row?.slice()),
      sums: this.#sums.slice(),
      denied: new Map(this.#denied),
      duration: this.duration.figures(),
    };
  }

  /** Adds what was counted elsewhere. */
  add({ rows, sums, denied, duration }: RouteFigures): void {
    rows.forEach((row, method) => {
      if (!row) return;
      const own = (this.#rows[method] ??= new Float64Array(statusLabels.length));
      row.forEach((count, status) => (own[status]! += count));
    });
    sums.forEach((sum, i) => (this.#sums[i]! += sum));
    for (const [by, count] of denied) this.#denied.set(by, (this.#denied.get(by) ?? 0) + count);
    this.duration.addFigures(duration);
  }

  /** Takes over what another one has counted, and what its exchanges under way will count yet. */
  absorb(other: RouteCounters): void {
    other.#rows.forEach((row, method) => {
      const own = (this.#rows[method] ??= row);
      if (row && own !== row) row.forEach((count, status) => (own![status]! += count));
    });
    other.#sums.forEach((sum, i) => (this.#sums[i]! += sum));
    for (const [by, count] of other.#denied) this.#denied.set(by, (this.#denied.get(by) ?? 0) + count);
    this.duration.add(other.duration);
    other.#rows = this.#rows;
    other.#sums = this.#sums;
    other.#denied = this.#denied;
    other.duration = this.duration;
  }
}
