/** AcmeError: why an ACME server, or we, did not do something; its message is for people. */

/** `urn:ietf:params:acme:error:…` without its prefix (RFC 8555 6.7). */
const prefix = "urn:ietf:params:acme:error:";

export class AcmeError extends Error {
  /**
   * @param type of the problem document, short: `rateLimited`; of our own `unreachable`, `slow` and "" for others
   * @param status of the answer; 0 without one
   * @param retryAfterMs what the server asked for
   */
  constructor(
    message: string,
    readonly type = "",
    readonly status = 0,
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  /** The order may have gone on without us. */
  get interrupted(): boolean {
    return this.type === "unreachable" || this.type === "slow";
  }

  get rateLimited(): boolean {
    return this.type === "rateLimited" || this.status === 429;
  }
}

/** @param body an answer, or the `error` of an authorization or order */
export function problemOf(what: string, status: number, body: unknown, retryAfterMs?: number): AcmeError {
  const { type, detail, subproblems } = (typeof body === "object" && body !== null ? body : {}) as Record<
    string,
    unknown
  >;
  const short = typeof type === "string" ? type.replace(prefix, "") : "";
  const told = typeof detail === "string" ? detail : "";
  const below = Array.isArray(subproblems)
    ? subproblems.flatMap((each: { detail?: unknown }) => (typeof each?.detail === "string" ? [each.detail] : []))
    : [];
  const reason = [told || (status ? `status ${status}` : "no reason given"), ...below].join("; ");
  return new AcmeError(clean(`${what}: ${reason}${short === "" ? "" : ` (${short})`}`), short, status, retryAfterMs);
}

/** A server's text goes into a log line: no line breaks, and not without end. */
function clean(text: string): string {
  const line = text.replace(/[\x00-\x1f\x7f]+/g, " ");
  return line.length > 500 ? `${line.slice(0, 499)}…` : line;
}
