/** Strict reading of a request's target (RFC 9112 3.2): which of the four forms it has, and where its parts lie. */
import { ADDRESS, classes, HOST } from "./byte-classes.ts";
import { isAt, sameName } from "./head-bytes.ts";
import type { RequestHead } from "./request-head.ts";

/** Forms of a target (RFC 9112 3.2): `/path?query`, `http://authority/path?query`, `*`, `authority`. */
export const originForm = 0;
export const absoluteForm = 1;
export const asteriskForm = 2;
export const authorityForm = 3;

/** RFC 9112 3.2. @returns whether it is one of the four forms */
export function readTarget(head: RequestHead, bytes: Buffer, start: number, end: number): boolean {
  head.authorityStart = -1;
  head.authorityEnd = -1;
  head.form = originForm;
  head.pathStart = start;
  head.pathEnd = end;
  const connect = head.methodEnd - head.methodStart === 7 && isAt(bytes, head.methodStart, "CONNECT");
  if (connect) return readAuthorityForm(head, bytes, start, end);
  if (bytes[start] === 47) return true;
  if (bytes[start] === 42) {
    head.form = asteriskForm;
    return end - start === 1 && head.methodEnd - head.methodStart === 7 && isAt(bytes, head.methodStart, "OPTIONS");
  }
  return readAbsoluteForm(head, bytes, start, end);
}

function readAbsoluteForm(head: RequestHead, bytes: Buffer, start: number, end: number): boolean {
  if (!sameName(bytes, start, "http")) return false;
  const colon = start + ((bytes[start + 4]! | 32) === 115 ? 5 : 4);
  if (!isAt(bytes, colon, "://")) return false;
  head.form = absoluteForm;
  head.authorityStart = colon + 3;
  const at = (head.authorityEnd = authorityEnd(bytes, head.authorityStart, false));
  if (at < 0) return false;
  if (at < end && bytes[at] === 47) {
    head.pathStart = at;
    return true;
  }
  head.pathStart = -1;
  head.pathEnd = -1;
  return at === end || bytes[at] === 63;
}

/** RFC 9110 9.3.6: a host and a port. */
function readAuthorityForm(head: RequestHead, bytes: Buffer, start: number, end: number): boolean {
  head.form = authorityForm;
  head.pathStart = -1;
  head.pathEnd = -1;
  head.authorityStart = start;
  head.authorityEnd = end;
  return authorityEnd(bytes, start, true) === end;
}

/**
 * RFC 3986 3.2 without userinfo and percent-encoding; what stands in brackets is not looked at closer.
 * @returns where the authority at `at` ends, or -1
 */
export function authorityEnd(bytes: Buffer, at: number, portNeeded: boolean): number {
  const host = at;
  if (bytes[at] === 91) {
    at++;
    while ((classes[bytes[at]!]! & ADDRESS) !== 0) at++;
    if (at === host + 1 || bytes[at++] !== 93) return -1;
  } else {
    while ((classes[bytes[at]!]! & HOST) !== 0) at++;
    if (at === host) return -1;
  }
  if (bytes[at] !== 58) return portNeeded ? -1 : at;
  const port = ++at;
  while (bytes[at]! >= 48 && bytes[at]! <= 57) at++;
  return at - port > 5 || (portNeeded && at === port) ? -1 : at;
}
