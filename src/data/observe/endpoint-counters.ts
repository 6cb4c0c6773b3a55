/** EndpointCounters: what has become of the requests sent to one upstream address. */
import type { Failure, FailureCode } from "../failure.ts";
import { durationBounds, Histogram } from "./histogram.ts";

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

  /** An answer may also fail later, inside its body. */
  failed({ code, source }: Failure): void {
    if (source !== "client") this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}
