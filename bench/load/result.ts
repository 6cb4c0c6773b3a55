/** What a load generator found, as one line of JSON on its output. */

export interface LoadResult {
  /** answers; with WebSocket, messages that came back */
  readonly requests: number;
  readonly seconds: number;
  /** over all requests, as the generator sees them from its own loop: see README, "What is not measured" */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** wrong answers, statuses of 400 and above, and failures to connect, read, write or be in time */
  readonly errors: number;
  /** what the errors were, where there are any */
  readonly why?: string;
  /** WebSocket: the longest time that one connection made no progress */
  readonly stallMs?: number;
}

/** The line, times in microseconds. */
export interface LoadLine {
  readonly requests: number;
  readonly us: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly errors: number;
  readonly stall?: number;
  /** the first error, or how many of each kind */
  readonly why?: string;
}

/** @throws Error when the line is missing, or no request succeeded */
export function parseLoad(output: string): LoadResult {
  const line = output.split("\n").findLast((text) => text.startsWith("{"));
  if (line === undefined)
    throw new Error(`Cannot read the load generator's result: expected a line of JSON, found "${output.trim()}"`);
  const { requests, us, p50, p99, p999, errors, stall, why } = JSON.parse(line) as LoadLine;
  if (requests === 0)
    throw new Error(`Cannot measure: got no answer at all (${errors} errors${why === undefined ? "" : `: ${why}`})`);
  return {
    requests,
    seconds: us / 1e6,
    p50Ms: p50 / 1000,
    p99Ms: p99 / 1000,
    p999Ms: p999 / 1000,
    errors,
    ...(errors > 0 && why !== undefined && { why }),
    ...(stall !== undefined && { stallMs: stall / 1000 }),
  };
}
