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
  const head = new ResponseHead(new Int32Array(4 * (count - 1)));
  for (let line = 1; line < count; line++) {
    const i = line * perLine;
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
    if ((kind & SENSITIVE) !== 0) (head.sensitive ??= new Set()).add(line - 1);
    for (let part = 0; part < 4; part++) head.lines[(line - 1) * 4 + part] = lines[i + part]! - from;
  }
  head.status = status;
  head.count = count - 1;
  const reason = reasonOf(status);
  head.bytes = Buffer.allocUnsafe(length - from + 2 + reason.length);
  bytes.copy(head.bytes, 0, from, length);
  head.bytes[length - from] = 13;
  head.bytes[length - from + 1] = 10;
  head.end = length - from + 2;
  // HTTP/2 has no reason phrases; clients of HTTP/1.1 get the usual one.
  reason.copy(head.bytes, head.end);
  head.reasonStart = head.end;
  head.reasonEnd = head.bytes.length;
  return head;
}

const reasons = new Map<number, Buffer>();

function reasonOf(status: number): Buffer {
  let reason = reasons.get(status);
  if (!reason) reasons.set(status, (reason = Buffer.from(STATUS_CODES[status] ?? "", "latin1")));
  return reason;
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
