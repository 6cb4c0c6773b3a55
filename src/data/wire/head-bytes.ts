/**
 * What heads and trailers have in common, read strictly from bytes: their end, their field lines (RFC 9112 2.2 and 5),
 * and the few fields that decide about framing and the connection.
 */

import { classes, COLON, COMMA, CR, LF, SP, TAB, TOKEN, UNDERSCORE, VALUE } from "./byte-classes.ts";

const headEnd = Buffer.from("\r\n\r\n", "latin1");

/**
 * Looks for the empty line that ends a head.
 * @param from resume position: three bytes before what is new, so that a dripping peer costs no second look
 * @returns the offset behind the head, or -1 while it is incomplete
 */
export function findHeadEnd(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(headEnd, from);
  return at < 0 ? -1 : at + 4;
}

/**
 * Whether a LF without CR lies in bytes[from, to): its sender may wait for an answer that would never come. The byte
 * before `from` counts as it stands.
 */
export function hasBareLineFeed(bytes: Buffer, from: number, to: number): boolean {
  for (let at = bytes.indexOf(LF, from); at >= 0 && at < to; at = bytes.indexOf(LF, at + 1)) {
    if (at === 0 || bytes[at - 1] !== CR) return true;
  }
  return false;
}

const nothing = Buffer.alloc(0);

/** Field lines as offsets into the bytes they came in: valid while those are, and until the next parse. */
export abstract class FieldLines {
  bytes: Buffer = nothing;
  /** lines */
  count = 0;
  /** a name holds `_` */
  hasUnderscore = false;
  /** @internal bit n is set when a name of n bytes (modulo 32) is there: most questions for a field end here */
  lengths = 0;
  /** why a parse failed: a constant text, nothing of the peer's in it */
  reason = "";
  /** lines that came as never to be put into a table (RFC 7541 7.1.3); undefined without */
  sensitive: Set<number> | undefined;

  /** @param lines 4 per line: start and end of the name, start and end of the value without blanks around it */
  constructor(public lines: Int32Array = new Int32Array(4 * 32)) {}

  /**
   * A line whose name is as long as a name that the message cares for.
   * @returns 0, or the status to refuse with
   */
  abstract note(line: number, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): number;

  /** Several lines are joined by ", " (Cookie by "; "). @param name lower case. @returns latin1 */
  field(name: string): string | undefined {
    if (((this.lengths >>> (name.length & 31)) & 1) === 0) return undefined;
    const { bytes, lines } = this;
    let joined: string | undefined;
    for (let i = 0, last = this.count * 4; i < last; i += 4) {
      const start = lines[i]!;
      if (lines[i + 1]! - start !== name.length || !sameName(bytes, start, name)) continue;
      const value = bytes.toString("latin1", lines[i + 2]!, lines[i + 3]!);
      joined = joined === undefined ? value : `${joined}${name === "cookie" ? "; " : ", "}${value}`;
    }
    return joined;
  }

  /** Whether there is such a line: {@link field} without the text. @param name lower case */
  has(name: string): boolean {
    return this.#find(name) >= 0;
  }

  /** Whether the first such line's value begins with a text, letter case aside. Both lower-case letters, digits, `-`, `/`. */
  begins(name: string, text: string): boolean {
    const i = this.#find(name);
    if (i < 0) return false;
    const start = this.lines[i + 2]!;
    return this.lines[i + 3]! - start >= text.length && sameName(this.bytes, start, text);
  }

  /** @returns where the first line of that name stands in {@link lines}, or -1 */
  #find(name: string): number {
    if (((this.lengths >>> (name.length & 31)) & 1) === 0) return -1;
    const { bytes, lines } = this;
    for (let i = 0, last = this.count * 4; i < last; i += 4) {
      const start = lines[i]!;
      if (lines[i + 1]! - start === name.length && sameName(bytes, start, name)) return i;
    }
    return -1;
  }

  /** Names and values as they came, latin1. */
  each(visit: (name: string, value: string) => void): void {
    const { bytes, lines } = this;
    for (let i = 0, last = this.count * 4; i < last; i += 4) {
      visit(bytes.toString("latin1", lines[i]!, lines[i + 1]!), bytes.toString("latin1", lines[i + 2]!, lines[i + 3]!));
    }
  }

  /** @returns `status` */
  refuse(status: number, reason: string): number {
    this.reason = reason;
    return status;
  }
}

/** Whether bytes from `at` on are the name, letter case aside. @param name lower-case letters, digits and `-` */
export function sameName(bytes: Buffer, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    // Bit 5 is what upper and lower case differ in; no other byte of a token becomes a letter, digit or `-` by it.
    if ((bytes[at + i]! | 32) !== name.charCodeAt(i)) return false;
  }
  return true;
}

/** Whether bytes from `at` on are the text, letter case included. */
export function isAt(bytes: Buffer, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/**
 * Reads field lines up to the empty line.
 * @param end behind the empty line; bytes[end - 4, end) or, without any line, bytes[end - 2, end) are the line ends
 * @param lengths bit n is set when a name of n bytes is to be noted (n < 32)
 * @returns 0, or 400 or 431 (RFC 9112 5, RFC 6585)
 */
export function scanFields(
  into: FieldLines,
  bytes: Buffer,
  from: number,
  end: number,
  linesMax: number,
  lengths: number,
): number {
  const table = classes;
  let lines = into.lines;
  let at = from;
  let count = 0;
  let seen = 0;
  let seenLengths = 0;
  while (bytes[at] !== CR) {
    if (count === linesMax) return into.refuse(431, "too many field lines");
    const nameStart = at;
    for (let bits; ((bits = table[bytes[at]!]!) & TOKEN) !== 0; at++) seen |= bits;
    if (at === nameStart || bytes[at] !== COLON) return into.refuse(400, nameProblem(bytes, nameStart, at));
    const nameEnd = at++;
    while (bytes[at] === SP || bytes[at] === TAB) at++;
    const valueStart = at;
    // Four at a time: 355 ns instead of 395 for a head of 589 bytes. Its own end keeps this inside the head.
    while (
      (table[bytes[at]!]! & table[bytes[at + 1]!]! & table[bytes[at + 2]!]! & table[bytes[at + 3]!]! & VALUE) !==
      0
    )
      at += 4;
    while ((table[bytes[at]!]! & VALUE) !== 0) at++;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return into.refuse(400, valueProblem(bytes[at]!));
    let valueEnd = at;
    while (valueEnd > valueStart && bytes[valueEnd - 1]! <= SP) valueEnd--;
    at += 2;
    const i = count * 4;
    if (i === lines.length) {
      into.lines = new Int32Array(lines.length * 2);
      into.lines.set(lines);
      lines = into.lines;
    }
    lines[i] = nameStart;
    lines[i + 1] = nameEnd;
    lines[i + 2] = valueStart;
    lines[i + 3] = valueEnd;
    const length = nameEnd - nameStart;
    seenLengths |= 1 << (length & 31);
    if (length < 32 && ((lengths >>> length) & 1) !== 0) {
      const status = into.note(count, nameStart, nameEnd, valueStart, valueEnd);
      if (status !== 0) return status;
    }
    count++;
  }
  into.count = count;
  into.lengths = seenLengths;
  into.hasUnderscore = (seen & UNDERSCORE) !== 0;
  return at + 2 === end ? 0 : into.refuse(400, "a bare CR in an empty line");
}

function nameProblem(bytes: Buffer, start: number, at: number): string {
  const byte = bytes[at]!;
  if (byte === LF) return "a bare LF";
  if (at === start) {
    if (byte === SP || byte === TAB) return "a folded field line";
    return byte === COLON ? "an empty field name" : "a field name that is no token";
  }
  if (byte === SP || byte === TAB) return "a blank in or after a field name";
  return byte === CR ? "a field line without colon" : "a field name that is no token";
}

/** @param byte where a value stopped */
export function valueProblem(byte: number): string {
  if (byte === LF) return "a bare LF";
  return byte === CR ? "a bare CR" : "a control character in a field value";
}

/**
 * Content-Length, strictly: digits only, no list, no sign.
 * @returns bytes, or -1 when it is malformed or beyond what a number holds exactly
 */
export function readContentLength(bytes: Buffer, start: number, end: number): number {
  // 15 digits stay below 2^53.
  if (start === end || end - start > 15) return -1;
  let length = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}

/**
 * Whether a tab stands around a value. It may, but nginx takes it for a part of the value, and node for the end of all
 * sense: a field that frames is better refused.
 */
export function hasTabAround(bytes: Buffer, nameEnd: number, start: number, end: number): boolean {
  for (let at = nameEnd + 1; at < start; at++) if (bytes[at] === TAB) return true;
  for (let at = end; bytes[at] !== CR; at++) if (bytes[at] === TAB) return true;
  return false;
}

/** Bits of what a `Connection` line names. */
export const CLOSE = 1;
export const KEEP_ALIVE = 2;
export const UPGRADE = 4;
/** something beyond `close`, `keep-alive`, `upgrade` and `te` */
export const OTHER = 8;

/** RFC 9110 7.6.1. An option is taken as it is: one that is no token names a field that cannot exist. */
export function readConnection(bytes: Buffer, start: number, end: number): number {
  let found = 0;
  for (let at = start; at < end;) {
    const from = skipBlanks(bytes, at, end);
    at = tokenEnd(bytes, from, end);
    const to = trimBlanks(bytes, from, at);
    at++;
    const length = to - from;
    if (length === 0) continue;
    if (length === 10 && sameName(bytes, from, "keep-alive")) found |= KEEP_ALIVE;
    else if (length === 5 && sameName(bytes, from, "close")) found |= CLOSE;
    else if (length === 7 && sameName(bytes, from, "upgrade")) found |= UPGRADE;
    else if (length !== 2 || !sameName(bytes, from, "te")) found |= OTHER;
  }
  return found;
}

/**
 * Transfer-Encoding, strictly: `chunked` and nothing else. Empty list elements are refused: servers differ about them.
 * @returns 0, 400 for what frames ambiguously, or 501 for a coding beside a final `chunked` (RFC 9112 6.1, 7)
 */
export function readTransferEncoding(bytes: Buffer, start: number, end: number): number {
  if (end - start === 7 && sameName(bytes, start, "chunked")) return 0;
  let others = 0;
  for (let at = start; ;) {
    const from = skipBlanks(bytes, at, end);
    at = tokenEnd(bytes, from, end);
    const to = trimBlanks(bytes, from, at);
    if (to === from) return 400;
    for (let i = from; i < to; i++) if ((classes[bytes[i]!]! & TOKEN) === 0) return 400;
    const chunked = to - from === 7 && sameName(bytes, from, "chunked");
    // It must come last, and once.
    if (chunked) return at === end && others > 0 ? 501 : 400;
    if (at === end) return 400;
    others++;
    at++;
  }
}

/** Whether a comma-separated value names the token, letter case aside; parameters behind `;` do not matter. */
export function namesToken(bytes: Buffer, start: number, end: number, token: string): boolean {
  for (let at = start; at < end; at++) {
    const from = skipBlanks(bytes, at, end);
    at = tokenEnd(bytes, from, end);
    if (at - from < token.length || !sameName(bytes, from, token)) continue;
    const next = skipBlanks(bytes, from + token.length, at);
    if (next === at || bytes[next] === 59) return true;
  }
  return false;
}

function tokenEnd(bytes: Buffer, at: number, end: number): number {
  while (at < end && bytes[at] !== COMMA) at++;
  return at;
}

function skipBlanks(bytes: Buffer, at: number, end: number): number {
  while (at < end && (bytes[at] === SP || bytes[at] === TAB)) at++;
  return at;
}

function trimBlanks(bytes: Buffer, start: number, end: number): number {
  while (end > start && (bytes[end - 1] === SP || bytes[end - 1] === TAB)) end--;
  return end;
}
