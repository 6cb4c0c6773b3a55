/** Refusals: how many clients were turned away before there was an exchange, by a reason from a fixed list. */

/** Metric labels: never made of what a client sent. */
export const refusalReasons = [
  "request_line",
  "method",
  "version",
  "line_end",
  "field",
  "host",
  "framing",
  "target_too_long",
  "head_too_long",
  "head_timeout",
  "too_many_connections",
  "too_many_files",
  "shutting_down",
  "other",
] as const;

export type RefusalReason = (typeof refusalReasons)[number];

/** Plain numbers: a scrape reads them, nothing waits for them. */
export class Refusals {
  readonly #counts = new Map<RefusalReason, number>(refusalReasons.map((reason) => [reason, 0]));

  count(reason: RefusalReason, times = 1): void {
    this.#counts.set(reason, this.#counts.get(reason)! + times);
  }

  of(reason: RefusalReason): number {
    return this.#counts.get(reason)!;
  }

  /** In the order of the list, those that are 0 too: a counter that appears late looks like no counter. */
  each(visit: (reason: RefusalReason, count: number) => void): void {
    for (const [reason, count] of this.#counts) visit(reason, count);
  }
}

/** The kind of a request that could not be read. @param why the parser's constant text (`RequestHead.reason`) */
export function kindOfBadRequest(status: number, why: string): RefusalReason {
  return byStatus[status] ?? byText[why] ?? "other";
}

const byStatus: Readonly<Record<number, RefusalReason>> = {
  408: "head_timeout",
  414: "target_too_long",
  431: "head_too_long",
  503: "shutting_down",
  505: "version",
};

const byText: Readonly<Record<string, RefusalReason>> = {
  "no empty line at its end": "request_line",
  "a request line that is not METHOD TARGET VERSION": "request_line",
  "two blanks in the request line": "request_line",
  "no HTTP version in the request line": "request_line",
  "an HTTP version that cannot be read": "request_line",
  "a malformed target": "request_line",
  "no method": "request_line",
  "a method that is no token": "method",
  "a method that is not made of capital letters, _ and -": "method",
  "the request holds a bare line feed": "line_end",
  "a bare LF": "line_end",
  "a bare CR": "line_end",
  "a bare CR in an empty line": "line_end",
  "a folded field line": "field",
  "an empty field name": "field",
  "a field name that is no token": "field",
  "a blank in or after a field name": "field",
  "a field line without colon": "field",
  "a control character in a field value": "field",
  "two Host fields": "host",
  "no Host field": "host",
  "a malformed Host": "host",
  "two Content-Length fields": "framing",
  "a tab beside a Content-Length": "framing",
  "a malformed Content-Length": "framing",
  "two Transfer-Encoding fields": "framing",
  "a tab beside a Transfer-Encoding": "framing",
  "a Transfer-Encoding beside chunked": "framing",
  "a Transfer-Encoding that is not chunked": "framing",
  "both Content-Length and Transfer-Encoding": "framing",
  "Transfer-Encoding in HTTP/1.0": "framing",
  "a CONNECT with a body": "framing",
};
