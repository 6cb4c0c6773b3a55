/** Failure: an operating error with a stable code, its source, and what it means for a retry. */

/** Whose fault it is. */
export type FailureSource = "client" | "upstream" | "proxy";

/**
 * How much of the request an upstream may have seen.
 * - `nothing`: no byte was sent; any method may be repeated
 * - `unanswered`: it may have been acted upon; only idempotent requests with a kept body may be repeated
 * - `final`: never repeated
 */
export type FailureReach = "nothing" | "unanswered" | "final";

const codes = {
  connect_refused: { status: 502, source: "upstream", reach: "nothing", counts: true },
  connect_timeout: { status: 504, source: "upstream", reach: "nothing", counts: true },
  name_not_found: { status: 502, source: "upstream", reach: "nothing", counts: true },
  tls_failed: { status: 502, source: "upstream", reach: "nothing", counts: true },
  early_reset: { status: 502, source: "upstream", reach: "unanswered", counts: true },
  bad_answer: { status: 502, source: "upstream", reach: "final", counts: false },
  first_byte_timeout: { status: 504, source: "upstream", reach: "final", counts: true },
  body_timeout: { status: 504, source: "upstream", reach: "final", counts: false },
  body_cut: { status: 502, source: "upstream", reach: "final", counts: false },
  unsupported: { status: 502, source: "proxy", reach: "final", counts: false },
  upstream_busy: { status: 503, source: "proxy", reach: "nothing", counts: false },
  refused_stream: { status: 502, source: "upstream", reach: "nothing", counts: false },
  deadline_exceeded: { status: 504, source: "client", reach: "final", counts: false },
  client_gone: { status: 499, source: "client", reach: "final", counts: false },
  client_timeout: { status: 408, source: "client", reach: "final", counts: false },
  client_body_bad: { status: 400, source: "client", reach: "final", counts: false },
  client_body_too_large: { status: 413, source: "client", reach: "final", counts: false },
} as const satisfies Record<string, { status: number; source: FailureSource; reach: FailureReach; counts: boolean }>;

export type FailureCode = keyof typeof codes;

export class Failure extends Error {
  readonly status: number;
  readonly source: FailureSource;
  readonly reach: FailureReach;
  /** true when it counts towards `max_fails` of the member */
  readonly counts: boolean;

  /** @param cause for the log only; a client never sees it */
  constructor(
    readonly code: FailureCode,
    cause: string,
  ) {
    super(cause);
    this.name = "Failure";
    const about = codes[code];
    this.status = about.status;
    this.source = about.source;
    this.reach = about.reach;
    this.counts = about.counts;
  }
}

/** What a try threw. @param server for the log */
export function asFailure(error: unknown, server: string): Failure {
  return error instanceof Failure
    ? error
    : new Failure("bad_answer", `${server}: ${error instanceof Error ? error.message : String(error)}`);
}
