/** Strict reading of a response head (RFC 9112 4, 5, 6) from bytes, into an object that is used again and again. */
import { classes, CR, LF, SP, VALUE } from "./byte-classes.ts";
import {
  CLOSE,
  FieldLines,
  hasTabAround,
  KEEP_ALIVE,
  readConnection,
  readContentLength,
  readTransferEncoding,
  sameName,
  scanFields,
  UPGRADE,
  valueProblem,
} from "./head-bytes.ts";

export interface ResponseLimits {
  /** status line, field lines and all line ends */
  readonly headBytesMax: number;
  readonly linesMax: number;
}

/** How the end of a body is known (RFC 9112 6.3); "none" also where it has no bytes. */
export type BodyKind = "none" | "length" | "chunked" | "close";

/** The names that {@link ResponseHead.note} cares for are so long. */
const notedLengths = (1 << 7) | (1 << 10) | (1 << 14) | (1 << 17);

export class ResponseHead extends FieldLines {
  /** The head, its empty line included, is bytes[start, end). */
  start = 0;
  end = 0;
  minor: 0 | 1 = 1;
  /** 100–999 */
  status = 0;
  reasonStart = 0;
  reasonEnd = 0;
  /** -1 without Content-Length */
  contentLength = -1;
  chunked = false;
  /** by version and Connection (RFC 9112 9.3); a body that ends with the connection is {@link bodyKind}'s matter */
  keepAlive = true;
  /** seconds of `Keep-Alive: timeout=`, -1 without */
  keepAliveTimeout = -1;
  /** an Upgrade field is there, and Connection names it */
  upgrade = false;

  /** @internal */
  hasUpgrade = false;
  /** @internal */
  connection = 0;

  /** How the end of the body of an answer to this method is known. After "close" the connection is used up. */
  bodyKind(requestMethod: string): BodyKind {
    const { status } = this;
    if (requestMethod === "HEAD" || status < 200 || status === 204 || status === 304) return "none";
    if (requestMethod === "CONNECT" && status < 300) return "none";
    if (this.chunked) return "chunked";
    if (this.contentLength < 0) return "close";
    return this.contentLength === 0 ? "none" : "length";
  }

  /** The reason phrase, latin1. */
  reasonPhrase(): string {
    return this.bytes.toString("latin1", this.reasonStart, this.reasonEnd);
  }

  override note(_line: number, nameStart: number, nameEnd: number, start: number, end: number): number {
    const { bytes } = this;
    switch (nameEnd - nameStart) {
      case 7:
        if (start < end && sameName(bytes, nameStart, "upgrade")) this.hasUpgrade = true;
        return 0;
      case 10:
        if (sameName(bytes, nameStart, "connection")) this.connection |= readConnection(bytes, start, end);
        else if (sameName(bytes, nameStart, "keep-alive")) this.keepAliveTimeout = readTimeout(bytes, start, end);
        return 0;
      case 14:
        if (!sameName(bytes, nameStart, "content-length")) return 0;
        if (this.contentLength >= 0) return this.refuse(400, "two Content-Length fields");
        if (hasTabAround(bytes, nameEnd, start, end)) return this.refuse(400, "a tab beside a Content-Length");
        this.contentLength = readContentLength(bytes, start, end);
        return this.contentLength < 0 ? this.refuse(400, "a malformed Content-Length") : 0;
      case 17:
        if (!sameName(bytes, nameStart, "transfer-encoding")) return 0;
        if (this.chunked) return this.refuse(400, "two Transfer-Encoding fields");
        if (hasTabAround(bytes, nameEnd, start, end)) return this.refuse(400, "a tab beside a Transfer-Encoding");
        this.chunked = true;
        return readTransferEncoding(bytes, start, end) === 0
          ? 0
          : this.refuse(400, "a Transfer-Encoding that is not chunked");
    }
    return 0;
  }
}

/**
 * Reads the head that ends at `end`, as {@link findHeadEnd} found it; interim answers (1xx) too.
 * @returns 0, or another number when it must not be believed: the connection is to be closed, the client to get a 502.
 * `head.reason` says why, and nothing else in `head` counts then
 */
export function parseResponseHead(
  head: ResponseHead,
  bytes: Buffer,
  start: number,
  end: number,
  limits: ResponseLimits,
): number {
  if (end - start < 4 || end > bytes.length || bytes[end - 1] !== LF || bytes[end - 2] !== CR || bytes[end - 3] !== LF)
    return head.refuse(400, "no empty line at its end");
  if (end - start > limits.headBytesMax) return head.refuse(431, "the head is too long");
  head.bytes = bytes;
  head.reason = "";
  head.start = start;
  head.end = end;
  head.contentLength = -1;
  head.chunked = false;
  head.keepAliveTimeout = -1;
  head.hasUpgrade = false;
  head.connection = 0;

  const fields = readStatusLine(head, bytes, start);
  if (fields < 0) return -fields;
  const status = scanFields(head, bytes, fields, end, limits.linesMax, notedLengths);
  if (status !== 0) return status;

  const { connection, minor } = head;
  if (head.chunked) {
    if (head.contentLength >= 0) return head.refuse(400, "both Content-Length and Transfer-Encoding");
    if (minor === 0) return head.refuse(400, "Transfer-Encoding in HTTP/1.0");
  }
  head.keepAlive = minor === 1 ? (connection & CLOSE) === 0 : (connection & (CLOSE | KEEP_ALIVE)) === KEEP_ALIVE;
  head.upgrade = head.hasUpgrade && (connection & UPGRADE) !== 0;
  return 0;
}

/** @returns where the field lines begin, or the status to refuse with, negated */
function readStatusLine(head: ResponseHead, bytes: Buffer, start: number): number {
  // "HTTP/1." as numbers: each is compared once, so nothing behind the head decides.
  if (
    bytes[start] !== 72 ||
    bytes[start + 1] !== 84 ||
    bytes[start + 2] !== 84 ||
    bytes[start + 3] !== 80 ||
    bytes[start + 4] !== 47 ||
    bytes[start + 5] !== 49 ||
    bytes[start + 6] !== 46
  )
    return -head.refuse(400, "no HTTP/1 version in the status line");
  const minor = bytes[start + 7]! - 48;
  if (minor !== 0 && minor !== 1) return -head.refuse(400, "an HTTP version that is not 1.0 or 1.1");
  const first = bytes[start + 9]! - 48;
  const second = bytes[start + 10]! - 48;
  const third = bytes[start + 11]! - 48;
  if (bytes[start + 8] !== SP || first < 1 || first > 9 || second < 0 || second > 9 || third < 0 || third > 9)
    return -head.refuse(400, "no status code of three digits");
  let at = start + 12;
  // The blank before an empty reason is often forgotten and can mean nothing else.
  if (bytes[at] === SP) at++;
  else if (bytes[at] !== CR) return -head.refuse(400, "no blank behind the status code");
  head.minor = minor;
  head.status = first * 100 + second * 10 + third;
  head.reasonStart = at;
  while ((classes[bytes[at]!]! & VALUE) !== 0) at++;
  head.reasonEnd = at;
  return bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : -head.refuse(400, valueProblem(bytes[at]!));
}

/** `Keep-Alive: timeout=5, max=100`: whole seconds, -1 where it does not say. */
function readTimeout(bytes: Buffer, start: number, end: number): number {
  const found = /(?:^|[,\s])timeout\s*=\s*"?([0-9]{1,9})(?![0-9])/i.exec(bytes.toString("latin1", start, end));
  return found ? Number(found[1]) : -1;
}
