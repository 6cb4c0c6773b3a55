/** EndpointCounters: what has become of the requests sent to one upstream address. */
import type { Failure, FailureCode } from "../failure.ts";
import { durationBounds, Histogram, type HistogramFigures } from "./histogram.ts";

/** What counters hold, or by how much they have grown, as plain data. */
export interface EndpointFigures {
  readonly requests: number;
  readonly latency: HistogramFigures;
  readonly failures: ReadonlyMap<FailureCode, number>;
}

export class EndpointCounters {
  /** tries that have ended, one way or the other */
  requests = 0;
  /** until the head of the answer */
  readonly latency = new Histogram(durationBounds);
  readonly failures = new Map<FailureCode, number>();

  /** @param endpoint its name */
  constructor(readonly endpoint: string) {}

  answered(ms: number): void {
    this.requests++;
    this.latency.observe(ms);
  }

  /** There was no answer. What the client did is no failure of the endpoint. */
  unanswered(failure: Failure): void {
    this.requests++;
    this.failed(failure);
  }

  figures(): EndpointFigures {
    return { requests: this.requests, latency: this.latency.figures(), failures: new Map(this.failures) };
  }

  /** Adds what was counted elsewhere. */
  add({ requests, latency, failures }: EndpointFigures): void {
    this.requests += requests;
    this.latency.addFigures(latency);
    for (const [code, count] of failures) this.failures.set(code, (this.failures.get(code) ?? 0) + count);
  }

  /** An answer may also fail later, inside its body. */
  failed({ code, source }: Failure): void {
    if (source !== "client") this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}
