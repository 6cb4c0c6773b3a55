/**
 * The field list of a request (RFC 9113 8.2, 8.3.1), read strictly and rewritten as the head that HTTP/1.1 would have
 * had: what stands behind it takes both.
 */
import { classes, METHOD, SP, TARGET, TOKEN } from "../byte-classes.ts";
import { isAt, readContentLength } from "../head-bytes.ts";
import { RequestHead } from "../request-head.ts";
import { asteriskForm, authorityEnd, authorityForm, originForm } from "../request-target.ts";
import {
  AUTHORITY_FIELD,
  BAD,
  CONNECTION_FIELD,
  COOKIE_FIELD,
  EXPECT_FIELD,
  HOST_FIELD,
  LENGTH_FIELD,
  METHOD_FIELD,
  NAME,
  PATH_FIELD,
  PROTOCOL_FIELD,
  SCHEME_FIELD,
  SENSITIVE,
  TE_FIELD,
  UNDERSCORED,
  UNKNOWN_PSEUDO,
  UPGRADE_FIELD,
} from "./field-kinds.ts";
import { perLine, type FieldList } from "./field-list.ts";

const hostName = Buffer.from("host: ", "latin1");
const versionAndLineEnd = Buffer.from(" HTTP/1.1\r\n", "latin1");
const cookieName = Buffer.from("cookie: ", "latin1");

/** What a WebSocket over HTTP/2 (RFC 8441) asks for, in the words of HTTP/1.1. @param key as Sec-WebSocket-Key */
export function webSocketLines(key: string): string {
  return `connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${key}\r\n`;
}

/** One object reads all requests: its answers are valid until the next. */
export class RequestFields {
  method = "";
  /** path and query; "" for CONNECT without `:protocol` */
  target = "";
  authority: string | undefined;
  /** `:protocol` of an extended CONNECT (RFC 8441) */
  protocol: string | undefined;
  /** -1 without Content-Length */
  contentLength = -1;
  expectContinue = false;
  teTrailers = false;
  /** why it is refused: a constant text, nothing of the peer's in it */
  reason = "";
  #list!: FieldList;
  /** lines of pseudo-fields, by their number; -1 without */
  readonly #pseudo = new Int32Array(UNKNOWN_PSEUDO);
  /** the first line that is no pseudo-field */
  #first = 0;
  #host = -1;
  #cookies = 0;
  #authorityBefore = "";

  /** @returns 0, the status to refuse with, or -1 when the request is malformed (RFC 9113 8.1.1) */
  read(list: FieldList): number {
    this.#list = list;
    this.#pseudo.fill(-1);
    this.#first = -1;
    this.#host = -1;
    this.#cookies = 0;
    this.contentLength = -1;
    this.expectContinue = false;
    this.teTrailers = false;
    if (list.refused) return this.#refuse(431, "the request head is too long");
    if ((list.kinds & BAD) !== 0) return this.#malformed("a field name or value that is not allowed");
    const { lines, count } = list;
    for (let line = 0; line < count; line++) {
      const name = lines[line * perLine + 4]! & NAME;
      if (name > 0 && name <= UNKNOWN_PSEUDO) {
        if (name === UNKNOWN_PSEUDO || this.#first >= 0 || this.#pseudo[name]! >= 0)
          return this.#malformed("a pseudo-field that is unknown, twice or behind others");
        this.#pseudo[name] = line;
        continue;
      }
      if (this.#first < 0) this.#first = line;
      if (name === 0) continue;
      const status = this.#note(name, line);
      if (status !== 0) return status;
    }
    if (this.#first < 0) this.#first = count;
    return this.#concluded();
  }

  #note(name: number, line: number): number {
    const { bytes, lines } = this.#list;
    const start = lines[line * perLine + 2]!;
    const end = lines[line * perLine + 3]!;
    switch (name) {
      case HOST_FIELD:
        if (this.#host >= 0) return this.#refuse(400, "two Host fields");
        this.#host = line;
        return 0;
      case COOKIE_FIELD:
        this.#cookies++;
        return 0;
      case LENGTH_FIELD: {
        const length = readContentLength(bytes, start, end);
        if (length < 0 || (this.contentLength >= 0 && this.contentLength !== length))
          return this.#malformed("a malformed Content-Length");
        if (this.contentLength >= 0) return this.#malformed("two Content-Length fields");
        this.contentLength = length;
        return 0;
      }
      case TE_FIELD:
        if (end - start !== 8 || !isAt(bytes, start, "trailers")) return this.#malformed("TE beyond trailers");
        this.teTrailers = true;
        return 0;
      case EXPECT_FIELD:
        if (end - start === 12 && isAt(bytes, start, "100-continue")) this.expectContinue = true;
        return 0;
      case CONNECTION_FIELD:
      case UPGRADE_FIELD:
        return this.#malformed("a field that belongs to an HTTP/1.1 connection");
    }
    return 0;
  }

  #concluded(): number {
    const { bytes, lines } = this.#list;
    const method = this.#pseudo[METHOD_FIELD]!;
    const path = this.#pseudo[PATH_FIELD]!;
    const scheme = this.#pseudo[SCHEME_FIELD]!;
    const protocol = this.#pseudo[PROTOCOL_FIELD]!;
    if (method < 0 || this.#pseudo[5]! >= 0) return this.#malformed("no method, or a status");
    const start = lines[method * perLine + 2]!;
    const end = lines[method * perLine + 3]!;
    this.method = methodOf(bytes, start, end);
    this.protocol = protocol < 0 ? undefined : this.#text(protocol);
    const connect = this.method === "CONNECT";
    if (connect && protocol < 0) {
      // RFC 9113 8.5
      if (path >= 0 || scheme >= 0) return this.#malformed("a CONNECT with a path");
      this.target = "";
    } else {
      if (path < 0 || scheme < 0) return this.#malformed("no path or no scheme");
      if (protocol >= 0 && !connect) return this.#malformed("a protocol without CONNECT");
      if (!this.#isTarget(path)) return this.#malformed("a malformed path");
      this.target = this.#text(path);
    }
    const problem = methodProblem(bytes, start, end);
    if (problem < 0) return this.#malformed("a method that is no token");
    // A server that is case-blind about methods would read what our guards did not.
    if (problem > 0) return this.#refuse(problem, "a method that is not made of capital letters, _ and -");
    return this.#agreeOnAuthority();
  }

  /** RFC 9113 8.3.1: `:authority` replaces Host; both, and of two minds, is how requests get past guards. */
  #agreeOnAuthority(): number {
    const pseudo = this.#pseudo[AUTHORITY_FIELD]!;
    const line = pseudo >= 0 ? pseudo : this.#host;
    this.authority = line < 0 ? undefined : this.#authorityText(line);
    if (line < 0) return 0;
    const { bytes, lines } = this.#list;
    if (authorityEnd(bytes, lines[line * perLine + 2]!, false) !== lines[line * perLine + 3])
      return this.#refuse(400, "a malformed authority");
    if (pseudo < 0 || this.#host < 0) return 0;
    return this.#text(this.#host) === this.authority ? 0 : this.#refuse(400, "Host and :authority differ");
  }

  /** An origin-form target, or `*` for OPTIONS. */
  #isTarget(line: number): boolean {
    const { bytes, lines } = this.#list;
    const start = lines[line * perLine + 2]!;
    const end = lines[line * perLine + 3]!;
    if (bytes[start] === 42) return end - start === 1 && this.method === "OPTIONS";
    if (start === end || bytes[start] !== 47) return false;
    for (let at = start; at < end; at++) if ((classes[bytes[at]!]! & TARGET) === 0) return false;
    return true;
  }

  /** Nearly always the one of the request before: comparing is cheaper than making a string. */
  #authorityText(line: number): string {
    const { bytes, lines } = this.#list;
    const start = lines[line * perLine + 2]!;
    const end = lines[line * perLine + 3]!;
    const before = this.#authorityBefore;
    if (before.length === end - start && isAt(bytes, start, before)) return before;
    return (this.#authorityBefore = bytes.toString("latin1", start, end));
  }

  #text(line: number): string {
    const { bytes, lines } = this.#list;
    return bytes.toString("latin1", lines[line * perLine + 2]!, lines[line * perLine + 3]!);
  }

  /**
   * The head as HTTP/1.1 has it, in memory of its own: a request line, then Host, then all other lines.
   * @param extra lines behind them, each with its end
   */
  head(method = this.method, extra = ""): RequestHead {
    const { count, length, lines, bytes } = this.#list;
    const authority = this.#pseudo[AUTHORITY_FIELD]!;
    const regular = this.#first < count ? lines[this.#first * perLine]! : length;
    const room = method.length + this.target.length + 32 + (this.authority?.length ?? 0) + length - regular;
    const out = new HeadBuilder(room + extra.length, count - this.#first + 5);
    const { head } = out;
    const path = this.target === "" ? -1 : this.#pseudo[PATH_FIELD]!;
    if (path < 0) out.requestLine(method, bytes, 0, 0);
    else out.requestLine(method, bytes, lines[path * perLine + 2]!, lines[path * perLine + 3]!);
    if (authority >= 0) {
      head.hostLine = 0;
      out.line(hostName, 0, 4, bytes, lines[authority * perLine + 2]!, lines[authority * perLine + 3]!);
    }
    const host = this.#host;
    if (host >= 0 && authority < 0) head.hostLine = host - this.#first;
    if (this.#cookies < 2 && (host < 0 || authority < 0)) out.region(this.#list, this.#first, regular);
    else this.#pick(out, authority >= 0);
    if (this.#cookies > 1) this.#joinCookies(out);
    if (extra !== "") out.text(extra);
    out.end();
    head.contentLength = this.contentLength;
    head.expectContinue = this.expectContinue;
    head.teTrailers = this.teTrailers;
    return head;
  }

  /** Line by line, without the Host that `:authority` has said already and the cookies that are joined. */
  #pick(out: HeadBuilder, withoutHost: boolean): void {
    const { bytes, lines, count } = this.#list;
    for (let line = this.#first; line < count; line++) {
      const i = line * perLine;
      const kind = lines[i + 4]!;
      const name = kind & NAME;
      if ((name === HOST_FIELD && withoutHost) || (name === COOKIE_FIELD && this.#cookies > 1)) continue;
      if (name === HOST_FIELD) out.head.hostLine = out.head.count;
      out.kind(kind);
      out.line(bytes, lines[i]!, lines[i + 1]!, bytes, lines[i + 2]!, lines[i + 3]!);
    }
  }

  /** RFC 9113 8.2.3: HTTP/1.1 knows one Cookie line only. */
  #joinCookies(out: HeadBuilder): void {
    const { bytes, lines, count } = this.#list;
    const crumbs: Buffer[] = [];
    let kinds = 0;
    for (let line = this.#first; line < count; line++) {
      const i = line * perLine;
      if ((lines[i + 4]! & NAME) !== COOKIE_FIELD) continue;
      kinds |= lines[i + 4]!;
      if (crumbs.length > 0) crumbs.push(Buffer.from("; "));
      crumbs.push(bytes.subarray(lines[i + 2]!, lines[i + 3]!));
    }
    const joined = Buffer.concat(crumbs);
    out.kind(kinds);
    out.line(cookieName, 0, 6, joined, 0, joined.length);
  }

  #malformed(reason: string): -1 {
    this.reason = reason;
    return -1;
  }

  #refuse(status: number, reason: string): number {
    this.reason = reason;
    return status;
  }
}

/** Lays lines into a head of their own. */
class HeadBuilder {
  readonly head: RequestHead;
  #at = 0;

  constructor(bytes: number, lines: number) {
    this.head = new RequestHead(new Int32Array(4 * lines));
    this.head.bytes = Buffer.allocUnsafe(bytes);
  }

  /** The target is from[start, end); empty where there is none that could go on (CONNECT). */
  requestLine(method: string, from: Buffer, start: number, end: number): void {
    const { head } = this;
    const { bytes } = head;
    const { length } = method;
    for (let i = 0; i < length; i++) bytes[i] = method.charCodeAt(i);
    bytes[length] = SP;
    from.copy(bytes, length + 1, start, end);
    const targetEnd = length + 1 + end - start;
    versionAndLineEnd.copy(bytes, targetEnd, 0, versionAndLineEnd.length);
    this.#at = targetEnd + versionAndLineEnd.length;
    head.methodEnd = length;
    head.targetStart = length + 1;
    head.targetEnd = targetEnd;
    head.form = start === end ? authorityForm : from[start] === 42 ? asteriskForm : originForm;
    head.pathStart = start === end ? -1 : head.targetStart;
    head.pathEnd = start === end ? -1 : head.targetEnd;
  }

  /** All lines from `first` on, which lie side by side from `from` on. */
  region({ bytes, lines, count, length }: FieldList, first: number, from: number): void {
    const { head } = this;
    const into = head.lines;
    const shift = this.#at - from;
    bytes.copy(head.bytes, this.#at, from, length);
    let to = head.count * 4;
    for (let i = first * perLine, last = count * perLine; i < last; i += perLine) {
      this.kind(lines[i + 4]!);
      head.lengths |= 1 << ((lines[i + 1]! - lines[i]!) & 31);
      into[to++] = lines[i]! + shift;
      into[to++] = lines[i + 1]! + shift;
      into[to++] = lines[i + 2]! + shift;
      into[to++] = lines[i + 3]! + shift;
      head.count++;
    }
    this.#at += length - from;
  }

  /** What the next line's kind means for the head. */
  kind(kind: number): void {
    if ((kind & (UNDERSCORED | SENSITIVE)) === 0) return;
    const { head } = this;
    if ((kind & UNDERSCORED) !== 0) head.hasUnderscore = true;
    if ((kind & SENSITIVE) !== 0) (head.sensitive ??= new Set()).add(head.count);
  }

  line(names: Buffer, name: number, nameEnd: number, values: Buffer, value: number, valueEnd: number): void {
    const { bytes, lines, count } = this.head;
    const start = this.#at;
    const middle = start + nameEnd - name;
    const end = middle + 2 + valueEnd - value;
    names.copy(bytes, start, name, nameEnd);
    bytes[middle] = 58;
    bytes[middle + 1] = 32;
    values.copy(bytes, middle + 2, value, valueEnd);
    bytes[end] = 13;
    bytes[end + 1] = 10;
    lines[count * 4] = start;
    lines[count * 4 + 1] = middle;
    lines[count * 4 + 2] = middle + 2;
    lines[count * 4 + 3] = end;
    this.head.lengths |= 1 << ((nameEnd - name) & 31);
    this.head.count++;
    this.#at = end + 2;
  }

  /** Lines of our own. */
  text(text: string): void {
    for (const line of text.split("\r\n")) {
      const colon = line.indexOf(": ");
      if (colon < 0) continue;
      const bytes = Buffer.from(line, "latin1");
      this.line(bytes, 0, colon, bytes, colon + 2, bytes.length);
    }
  }

  /** The empty line. */
  end(): void {
    const { head } = this;
    head.bytes[this.#at] = 13;
    head.bytes[this.#at + 1] = 10;
    head.end = this.#at + 2;
  }
}

/** One string per common method, whatever the bytes. */
function methodOf(bytes: Buffer, start: number, end: number): string {
  switch (end - start) {
    case 3:
      if (isAt(bytes, start, "GET")) return "GET";
      break;
    case 4:
      if (isAt(bytes, start, "POST")) return "POST";
      if (isAt(bytes, start, "HEAD")) return "HEAD";
      break;
  }
  return bytes.toString("latin1", start, end);
}

/** @returns 0, 501, or -1 when it is no token at all */
function methodProblem(bytes: Buffer, start: number, end: number): number {
  let all = METHOD;
  if (start === end) return -1;
  for (let at = start; at < end; at++) {
    const bits = classes[bytes[at]!]!;
    if ((bits & TOKEN) === 0) return -1;
    all &= bits;
  }
  return all === 0 ? 501 : 0;
}
