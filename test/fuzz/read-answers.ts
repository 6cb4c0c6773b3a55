/** Reads what a connection answered, literally: heads, and bodies by their framing (RFC 9112 6.3). */

export interface ReadAnswer {
  readonly status: number;
  /** of the exchange it says it belongs to; undefined for an answer to what is no request */
  readonly id: number | undefined;
}

export interface ReadOutput {
  readonly answers: ReadAnswer[];
  /** what is no whole answer */
  readonly rest: string;
  /** what no client could read */
  readonly problem: string;
}

/** @param text latin1 @param methods of the exchanges, by their number */
export function readAnswers(text: string, methods: readonly string[]): ReadOutput {
  const answers: ReadAnswer[] = [];
  let rest = text;
  const end = (problem: string): ReadOutput => ({ answers, rest, problem });
  for (;;) {
    const headEnd = rest.indexOf("\r\n\r\n");
    if (headEnd < 0) return end("");
    const head = rest.slice(0, headEnd);
    const status = /^HTTP\/1\.1 (\d{3}) [^\r\n]*(?:\r\n[!-9;-~]+: [^\r\n]*)*$/.exec(head)?.[1];
    if (status === undefined) return end(`a head ${JSON.stringify(head.slice(0, 300))}`);
    const body = rest.slice(headEnd + 4);
    if (status.startsWith("1")) {
      if (head !== "HTTP/1.1 100 Continue") return end(`an interim answer ${JSON.stringify(head)}`);
      rest = body;
      continue;
    }
    const written = /\r\nX-Request-Id: (\d+)/.exec(head)?.[1];
    // A fault's answer does not know its number: it is that of the next exchange, if there is one.
    const fault = status === "500" ? answers.filter(({ id }) => id !== undefined).length : undefined;
    const id = written === undefined ? fault : Number(written);
    const length = bodyLength(head, body, status, id === undefined ? "" : methods[id]!);
    if (length === undefined) return end("");
    if (length < 0) return end(`a body that no client could read behind ${JSON.stringify(head)}`);
    answers.push({ status: Number(status), id });
    rest = body.slice(length);
  }
}

/** @returns undefined for a body that is not whole, -1 for one that is malformed */
function bodyLength(head: string, body: string, status: string, method: string): number | undefined {
  if (method === "HEAD" || status === "204" || status === "304") return 0;
  const lengths = [...head.matchAll(/\r\ncontent-length: (\d+)/gi)];
  const chunked = /\r\ntransfer-encoding: chunked/i.test(head);
  if (lengths.length > 1 || (chunked && lengths.length > 0)) return -1;
  if (lengths.length === 1) return body.length < Number(lengths[0]![1]) ? undefined : Number(lengths[0]![1]);
  // Without any framing it ends with the connection.
  if (!chunked) return /\r\nconnection: close/i.test(head) ? body.length : -1;
  for (let at = 0; ;) {
    const lineEnd = body.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = /^[0-9a-f]+$/.test(body.slice(at, lineEnd)) ? Number.parseInt(body.slice(at, lineEnd), 16) : -1;
    if (size < 0) return -1;
    at = lineEnd + 2 + size + 2;
    if (at > body.length) return undefined;
    if (body.slice(at - 2, at) !== "\r\n") return -1;
    if (size === 0) return at;
  }
}
