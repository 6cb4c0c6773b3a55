/** The field list of an answer (RFC 9113 8.3.2), read strictly and rewritten as the head that HTTP/1.1 would have had. */
import { STATUS_CODES } from "node:http";
import { readContentLength } from "../head-bytes.ts";
import { ResponseHead } from "../response-head-bytes.ts";
import {
  BAD,
  CONNECTION_FIELD,
  LENGTH_FIELD,
  NAME,
  SENSITIVE,
  STATUS_FIELD,
  UNDERSCORED,
  UNKNOWN_PSEUDO,
  UPGRADE_FIELD,
} from "./field-kinds.ts";
import { perLine, type FieldList } from "./field-list.ts";

/** @returns the head, in memory of its own; or why it must not be believed */
export function readResponse(list: FieldList): ResponseHead | string {
  const { bytes, lines, count, kinds, length } = list;
  if (list.refused) return "the head of the answer is too long";
  if ((kinds & BAD) !== 0) return "a field name or value that is not allowed";
  if (count === 0 || (lines[4]! & NAME) !== STATUS_FIELD) return "no status";
  const status = statusOf(bytes, lines[2]!, lines[3]!);
  if (status < 0) return "a status that is none";
  const from = lines[3]! + 2;
  const line = statusLineOf(status);
  // Where a line comes to lie behind the status line.
  const shift = line.length - from;
  const head = new ResponseHead(new Int32Array(4 * (count - 1)));
  const problem = takeLines(head, list, shift);
  if (problem !== undefined) return problem;
  head.status = status;
  head.end = length + shift + 2;
  head.bytes = Buffer.allocUnsafe(head.end);
  line.copy(head.bytes);
  bytes.copy(head.bytes, line.length, from, length);
  head.bytes[head.end - 2] = 13;
  head.bytes[head.end - 1] = 10;
  head.reasonStart = 13;
  head.reasonEnd = line.length - 2;
  return head;
}

/** @returns why the head must not be believed */
function takeLines(head: ResponseHead, { bytes, lines, count }: FieldList, shift: number): string | undefined {
  for (let i = perLine, to = 0; i < count * perLine; i += perLine) {
    const kind = lines[i + 4]!;
    const name = kind & NAME;
    if (name > 0) {
      if (name <= UNKNOWN_PSEUDO) return "a pseudo-field that does not belong there";
      if (name === CONNECTION_FIELD || name === UPGRADE_FIELD) return "a field that belongs to an HTTP/1.1 connection";
      if (name === LENGTH_FIELD) {
        if (head.contentLength >= 0) return "two Content-Length fields";
        head.contentLength = readContentLength(bytes, lines[i + 2]!, lines[i + 3]!);
        if (head.contentLength < 0) return "a malformed Content-Length";
      }
    }
    if ((kind & UNDERSCORED) !== 0) head.hasUnderscore = true;
    if ((kind & SENSITIVE) !== 0) (head.sensitive ??= new Set()).add(head.count);
    head.lengths |= 1 << ((lines[i + 1]! - lines[i]!) & 31);
    for (let part = 0; part < 4; part++) head.lines[to++] = lines[i + part]! + shift;
    head.count++;
  }
  return undefined;
}

const statusLines = new Map<number, Buffer>();

/** HTTP/2 has no reason phrases; clients of HTTP/1.1 get the usual one. */
function statusLineOf(status: number): Buffer {
  let line = statusLines.get(status);
  if (!line) {
    line = Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`, "latin1");
    statusLines.set(status, line);
  }
  return line;
}

/** Three digits, 100 to 999; or -1. */
function statusOf(bytes: Buffer, start: number, end: number): number {
  if (end - start !== 3) return -1;
  let status = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return -1;
    status = status * 10 + digit;
  }
  return status < 100 ? -1 : status;
}
