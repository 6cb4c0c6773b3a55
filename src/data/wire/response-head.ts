/** Strict reading of an upstream's HTTP/1 response head (RFC 9112): what two readers could read differently is refused. */
import { isFieldValue, isToken } from "../../lib/fields.ts";
import type { FieldLine } from "../body.ts";
import { Failure } from "../failure.ts";

export interface ResponseHead {
  readonly version: "HTTP/1.0" | "HTTP/1.1";
  readonly status: number;
  readonly reason: string;
  readonly lines: readonly FieldLine[];
}

const CR = 13;
const LF = 10;

/**
 * Looks for the empty line that ends a head.
 * @param from bytes before it were looked at by an earlier call, so that a dripping upstream costs no second look
 * @returns the offset behind the head, or -1 while it is incomplete
 * @throws Failure `bad_answer` for NUL, a bare LF or a bare CR (RFC 9112 2.2), at once
 */
export function findHeadEnd(bytes: Uint8Array, from: number, end: number): number {
  let previous = from > 0 ? bytes[from - 1]! : 0;
  for (let at = from; at < end; at++) {
    const byte = bytes[at]!;
    if ((byte === LF) !== (previous === CR)) throw bad(byte === LF ? "a bare LF" : "a bare CR");
    if (byte === 0) throw bad("a NUL");
    if (byte === LF && at >= 3 && bytes[at - 2] === LF) return at + 1;
    previous = byte;
  }
  return -1;
}

/**
 * @param head the bytes up to and with the empty line
 * @throws Failure `bad_answer`
 */
export function parseResponseHead(head: Uint8Array): ResponseHead {
  const lines = Buffer.from(head.buffer, head.byteOffset, head.length - 4)
    .toString("latin1")
    .split("\r\n");
  // The space before an empty reason is often forgotten and can mean nothing else.
  const start = /^(HTTP\/1\.[01]) ([1-5][0-9][0-9])(?: (.*))?$/.exec(lines[0]!);
  if (start === null || !isFieldValue(start[3] ?? "")) throw bad(`the status line ${quote(lines[0]!)}`);
  return {
    version: start[1] as ResponseHead["version"],
    status: Number(start[2]),
    reason: start[3] ?? "",
    lines: lines.slice(1).map(parseLine),
  };
}

/** All values of a field, joined by ", "; undefined when it is absent. @param name lower case */
export function fieldOf(lines: readonly FieldLine[], name: string): string | undefined {
  let joined: string | undefined;
  for (const [key, value] of lines) {
    if (key.length === name.length && key.toLowerCase() === name)
      joined = joined === undefined ? value : `${joined}, ${value}`;
  }
  return joined;
}

function parseLine(line: string): FieldLine {
  if (line.startsWith(" ") || line.startsWith("\t")) throw bad("a folded field line");
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon));
  if (!isToken(name)) throw bad(`the field name ${quote(name === "" ? line : name)}`);
  // Not trim(): it also takes NBSP, which is a byte of the value here.
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
  if (!isFieldValue(value)) throw bad(`a control character in field ${quote(name)}`);
  return [name, value];
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}

function bad(what: string): Failure {
  return new Failure("bad_answer", `Cannot read the upstream's response head: it holds ${what}`);
}
