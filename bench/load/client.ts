/** What the load generators of our own share: their options, their clock and their report. */
import { Latencies } from "./latencies.ts";
import type { LoadLine } from "./result.ts";

export interface ClientOptions {
  readonly port: number;
  readonly seconds: number;
  readonly connections: number;
  readonly host: string;
  readonly target: string;
  /** WebSocket: payload of a message */
  readonly messageBytes: number;
}

/** What a generator counts between its begin and its end. */
export class Tally {
  readonly latencies = new Latencies();
  readonly beganMs = performance.now();
  errors = 0;
  why: string | undefined;

  fail(why: string): void {
    this.errors++;
    this.why ??= why;
  }

  /** Prints the line and ends the process: connections in the middle of a request are hung up. */
  report(stallMs?: number): never {
    const { latencies, errors, why } = this;
    const us = Math.round((performance.now() - this.beganMs) * 1000);
    const [p50 = 0, p99 = 0, p999 = 0] = [0.5, 0.99, 0.999].map((share) => latencies.percentileUs(share));
    const stall = stallMs === undefined ? {} : { stall: Math.round(stallMs * 1000) };
    const line: LoadLine = { requests: latencies.total, us, p50, p99, p999, errors, ...stall, ...(why && { why }) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
    process.exit(0);
  }
}

/** The options, which the runner gives as JSON. */
export function clientOptions(): ClientOptions {
  return JSON.parse(process.argv[2]!) as ClientOptions;
}
