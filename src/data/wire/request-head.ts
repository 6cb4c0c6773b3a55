/** Strict reading of a request head (RFC 9112 3, 5, 6) from bytes, into an object that is used again and again. */
import { classes, CR, LF, METHOD, SP, TARGET, TOKEN } from "./byte-classes.ts";
import {
  CLOSE,
  FieldLines,
  hasTabAround,
  isAt,
  KEEP_ALIVE,
  namesToken,
  OTHER,
  readConnection,
  readContentLength,
  readTransferEncoding,
  sameName,
  scanFields,
  UPGRADE,
} from "./head-bytes.ts";
import { absoluteForm, authorityEnd, authorityForm, originForm, readTarget } from "./request-target.ts";

export interface RequestLimits {
  readonly targetBytesMax: number;
  /** request line, field lines and all line ends */
  readonly headBytesMax: number;
  readonly linesMax: number;
}

/** The names that {@link RequestHead.note} cares for are so long. */
const notedLengths = (1 << 2) | (1 << 4) | (1 << 6) | (1 << 7) | (1 << 10) | (1 << 14) | (1 << 17);

export class RequestHead extends FieldLines {
  /** The head, its empty line included, is bytes[start, end). */
  start = 0;
  end = 0;
  methodStart = 0;
  methodEnd = 0;
  targetStart = 0;
  targetEnd = 0;
  minor: 0 | 1 = 1;
  form = originForm;
  /** authority of an absolute-form target or of CONNECT; -1 without */
  authorityStart = -1;
  authorityEnd = -1;
  /** path and query as they came; -1 where the target holds no path (CONNECT, `http://host`, `http://host?query`) */
  pathStart = -1;
  pathEnd = -1;

  /** -1 without Content-Length */
  contentLength = -1;
  chunked = false;
  /** by version and Connection (RFC 9112 9.3) */
  keepAlive = true;
  /** an Upgrade field is there, Connection names it, and this is HTTP/1.1 */
  upgrade = false;
  /** `Expect: 100-continue` in HTTP/1.1 (RFC 9110 10.1.1) */
  expectContinue = false;
  /** TE names `trailers` */
  teTrailers = false;
  /** Connection names something beyond `close`, `keep-alive`, `upgrade` and `te` */
  nominates = false;
  /** index of the Host line, -1 without */
  hostLine = -1;

  /** @internal */
  hasUpgrade = false;
  /** @internal */
  connection = 0;

  /** One string per common method, whatever the bytes. */
  method(): string {
    const { bytes, methodStart: at, methodEnd } = this;
    switch (methodEnd - at) {
      case 3:
        if (isAt(bytes, at, "GET")) return "GET";
        if (isAt(bytes, at, "PUT")) return "PUT";
        break;
      case 4:
        if (isAt(bytes, at, "POST")) return "POST";
        if (isAt(bytes, at, "HEAD")) return "HEAD";
        break;
      case 5:
        if (isAt(bytes, at, "PATCH")) return "PATCH";
        break;
      case 6:
        if (isAt(bytes, at, "DELETE")) return "DELETE";
        break;
      case 7:
        if (isAt(bytes, at, "OPTIONS")) return "OPTIONS";
        break;
    }
    return bytes.toString("latin1", at, methodEnd);
  }

  /**
   * The target in origin-form, as it is to go upstream: path and query as they came; behind the authority of an
   * absolute-form target, where an empty path means "/", or "*" for OPTIONS (RFC 9112 3.2.1, 3.2.4). CONNECT: authority.
   */
  target(): string {
    const { bytes } = this;
    if (this.pathStart >= 0) return bytes.toString("latin1", this.pathStart, this.pathEnd);
    if (this.form !== absoluteForm) return this.rawTarget();
    if (this.authorityEnd === this.targetEnd && this.method() === "OPTIONS") return "*";
    return `/${bytes.toString("latin1", this.authorityEnd, this.targetEnd)}`;
  }

  /** The target as it came. */
  rawTarget(): string {
    return this.bytes.toString("latin1", this.targetStart, this.targetEnd);
  }

  override note(line: number, nameStart: number, nameEnd: number, start: number, end: number): number {
    const { bytes } = this;
    switch (nameEnd - nameStart) {
      case 2:
        if (sameName(bytes, nameStart, "te") && namesToken(bytes, start, end, "trailers")) this.teTrailers = true;
        return 0;
      case 4:
        if (!sameName(bytes, nameStart, "host")) return 0;
        if (this.hostLine >= 0) return this.refuse(400, "two Host fields");
        this.hostLine = line;
        return 0;
      case 6:
        if (sameName(bytes, nameStart, "expect") && namesToken(bytes, start, end, "100-continue"))
          this.expectContinue = true;
        return 0;
      case 7:
        if (start < end && sameName(bytes, nameStart, "upgrade")) this.hasUpgrade = true;
        return 0;
      case 10:
        if (sameName(bytes, nameStart, "connection")) this.connection |= readConnection(bytes, start, end);
        return 0;
      case 14:
        if (!sameName(bytes, nameStart, "content-length")) return 0;
        if (this.contentLength >= 0) return this.refuse(400, "two Content-Length fields");
        if (hasTabAround(bytes, nameEnd, start, end)) return this.refuse(400, "a tab beside a Content-Length");
        this.contentLength = readContentLength(bytes, start, end);
        return this.contentLength < 0 ? this.refuse(400, "a malformed Content-Length") : 0;
      case 17: {
        if (!sameName(bytes, nameStart, "transfer-encoding")) return 0;
        if (this.chunked) return this.refuse(400, "two Transfer-Encoding fields");
        if (hasTabAround(bytes, nameEnd, start, end)) return this.refuse(400, "a tab beside a Transfer-Encoding");
        this.chunked = true;
        const status = readTransferEncoding(bytes, start, end);
        if (status === 501) return this.refuse(501, "a Transfer-Encoding beside chunked");
        return status === 0 ? 0 : this.refuse(400, "a Transfer-Encoding that is not chunked");
      }
    }
    return 0;
  }
}

/**
 * Reads the head that ends at `end`, as {@link findHeadEnd} found it. One empty line before it is skipped (RFC 9112 2.2).
 * @returns 0, or the status to refuse with (400, 414, 431, 501, 505) and to close the connection; `head.reason` says why,
 * and nothing else in `head` counts then
 */
export function parseRequestHead(
  head: RequestHead,
  bytes: Buffer,
  start: number,
  end: number,
  limits: RequestLimits,
): number {
  if (end - start < 4 || end > bytes.length || bytes[end - 1] !== LF || bytes[end - 2] !== CR || bytes[end - 3] !== LF)
    return head.refuse(400, "no empty line at its end");
  head.bytes = bytes;
  head.reason = "";
  head.start = start;
  head.end = end;
  head.contentLength = -1;
  head.chunked = false;
  head.expectContinue = false;
  head.teTrailers = false;
  head.hostLine = -1;
  head.hasUpgrade = false;
  head.connection = 0;

  const fields = readRequestLine(head, bytes, start, limits.targetBytesMax);
  if (fields < 0) return -fields;
  if (end - start > limits.headBytesMax) return head.refuse(431, "the head is too long");
  const status = scanFields(head, bytes, fields, end, limits.linesMax, notedLengths);
  return status === 0 ? concluded(head) : status;
}

/**
 * What to refuse a head with that has outgrown its bound before it ended: 414 when the target alone is too long
 * (RFC 9112 3), else 431.
 */
export function statusOfOverlong(bytes: Buffer, start: number, limits: RequestLimits): 414 | 431 {
  const target = bytes.indexOf(SP, start) + 1;
  if (target <= 0) return 431;
  let end = target;
  while (end < bytes.length && (classes[bytes[end]!]! & TARGET) !== 0) end++;
  return end - target > limits.targetBytesMax ? 414 : 431;
}

/** @returns where the field lines begin, or the status to refuse with, negated */
function readRequestLine(head: RequestHead, bytes: Buffer, start: number, targetBytesMax: number): number {
  const table = classes;
  let at = start;
  if (bytes[at] === CR && bytes[at + 1] === LF) at += 2;
  head.methodStart = at;
  while ((table[bytes[at]!]! & METHOD) !== 0) at++;
  head.methodEnd = at;
  if (bytes[at] !== SP || at === head.methodStart) return -methodProblem(head, bytes, at);
  const target = (head.targetStart = ++at);
  while ((table[bytes[at]!]! & TARGET) !== 0) at++;
  head.targetEnd = at;
  if (bytes[at] !== SP) return -head.refuse(400, "a request line that is not METHOD TARGET VERSION");
  if (at === target) return -head.refuse(400, "two blanks in the request line");
  if (at - target > targetBytesMax) return -head.refuse(414, "the target is too long");
  if (!isAt(bytes, ++at, "HTTP/")) return -head.refuse(400, "no HTTP version in the request line");
  if (bytes[at + 8] !== CR || bytes[at + 9] !== LF || !isVersion(bytes, at + 5))
    return -head.refuse(400, "an HTTP version that cannot be read");
  const minor = bytes[at + 7]! - 48;
  if (bytes[at + 5] !== 49 || minor > 1) return -head.refuse(505, "an HTTP version that is not 1.0 or 1.1");
  head.minor = minor as 0 | 1;
  return readTarget(head, bytes, target, head.targetEnd) ? at + 10 : -head.refuse(400, "a malformed target");
}

/** The bytes at `at` stand behind a name of the alphabet: what is compared never passes the head's end. */
function isVersion(bytes: Buffer, at: number): boolean {
  const major = bytes[at]! - 48;
  const minor = bytes[at + 2]! - 48;
  return major >= 0 && major <= 9 && bytes[at + 1] === 46 && minor >= 0 && minor <= 9;
}

function methodProblem(head: RequestHead, bytes: Buffer, at: number): number {
  const start = head.methodStart;
  while ((classes[bytes[at]!]! & TOKEN) !== 0) at++;
  if (at === start) return head.refuse(400, "no method");
  if (bytes[at] !== SP) return head.refuse(400, "a method that is no token");
  // A server that is case-blind about methods would read what our guards did not.
  return head.refuse(501, "a method that is not made of capital letters, _ and -");
}

/** What only all the lines together tell. */
function concluded(head: RequestHead): number {
  const { connection, minor } = head;
  if (head.chunked) {
    if (head.contentLength >= 0) return head.refuse(400, "both Content-Length and Transfer-Encoding");
    if (minor === 0) return head.refuse(400, "Transfer-Encoding in HTTP/1.0");
  }
  // RFC 9110 9.3.6: what follows a CONNECT is no body; servers differ about one.
  if (head.form === authorityForm && (head.chunked || head.contentLength >= 0))
    return head.refuse(400, "a CONNECT with a body");
  if (minor === 1) {
    if (head.hostLine < 0) return head.refuse(400, "no Host field");
    head.keepAlive = (connection & CLOSE) === 0;
  } else {
    head.keepAlive = (connection & (CLOSE | KEEP_ALIVE)) === KEEP_ALIVE;
    // RFC 9110 7.8, 10.1.1: these do not exist in HTTP/1.0.
    head.hasUpgrade = false;
    head.expectContinue = false;
  }
  if (head.hostLine >= 0) {
    // RFC 9112 3.2: also where the target's authority overrules it, and before anyone makes a string of it.
    const at = head.hostLine * 4;
    if (authorityEnd(head.bytes, head.lines[at + 2]!, false) !== head.lines[at + 3])
      return head.refuse(400, "a malformed Host");
  }
  head.upgrade = head.hasUpgrade && (connection & UPGRADE) !== 0;
  head.nominates = (connection & OTHER) !== 0;
  return 0;
}
