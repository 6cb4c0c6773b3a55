/** Strict reading of a chunked body (RFC 9112 7.1), piece by piece: its data as slices of what came, then its trailers. */
import { chunkExtensionBytesMax, trailerBytesMax, trailerLinesMax } from "../../lib/limits.ts";
import type { FieldLine } from "../body.ts";
import { classes, CR, LF, TOKEN } from "./byte-classes.ts";
import { FieldLines, findHeadEnd, hasBareLineFeed, scanFields } from "./head-bytes.ts";

export interface ChunkSink {
  /** @param bytes never empty; a slice of what was fed. @returns false to pause: `feed` returns behind these bytes */
  data(bytes: Buffer): boolean;
}

// Where in the body the next byte stands.
const sizeStart = 0;
const size = 1;
const extensionName = 2;
const extensionValueStart = 3;
const extensionValue = 4;
const extensionQuoted = 5;
const extensionEscaped = 6;
const extensionQuoteEnd = 7;
const sizeLineFeed = 8;
const data = 9;
const dataReturn = 10;
const dataLineFeed = 11;
const trailerSection = 12;
const over = 13;

const noTrailers: readonly FieldLine[] = [];

export class ChunkedReader {
  /** last chunk and trailers were read */
  done = false;
  /** why the body cannot be believed; "" while it can. The connection is to be closed then. */
  error = "";
  /** complete when `done` */
  trailers: readonly FieldLine[] = noTrailers;
  #state = sizeStart;
  /** of the chunk: its size while that is read, then its bytes still to come */
  #left = 0;
  #digits = 0;
  /** of the whole body, so that a peer cannot send them for ever */
  #extensionBytes = 0;
  /** bytes of an extension's name, or of a bare value, so far */
  #word = 0;
  #kept: Buffer | undefined;
  #keptLength = 0;

  /**
   * Reads bytes[start, end).
   * @returns up to where: behind the body when `done`, behind the data at which the sink paused, else `end`;
   * meaningless after an `error`
   */
  feed(bytes: Buffer, start: number, end: number, out: ChunkSink): number {
    let at = start;
    while (at < end && this.#state !== over) {
      if (this.#state === data) {
        const to = Math.min(end, at + this.#left);
        this.#left -= to - at;
        if (this.#left === 0) this.#state = dataReturn;
        const more = out.data(at === 0 && to === bytes.length ? bytes : bytes.subarray(at, to));
        at = to;
        if (!more) return at;
      } else if (this.#state === trailerSection) at = this.#readTrailers(bytes, at, end);
      else if (this.#state >= dataReturn) this.#endOfData(bytes[at++]!);
      else at = this.#readSize(bytes, at, end);
    }
    return at;
  }

  #fail(error: string): void {
    this.error = error;
    this.#state = over;
  }

  #endOfData(byte: number): void {
    if (this.#state === dataReturn && byte === CR) this.#state = dataLineFeed;
    else if (this.#state === dataLineFeed && byte === LF) this.#state = sizeStart;
    else this.#fail("no line end after the data of a chunk");
  }

  #readSize(bytes: Buffer, at: number, end: number): number {
    while (at < end) {
      const byte = bytes[at++]!;
      if (this.#state === sizeLineFeed) {
        if (byte !== LF) this.#fail("a bare CR in a chunk's size line");
        else this.#state = this.#left > 0 ? data : trailerSection;
        return at;
      }
      if (this.#state > size) this.#readExtension(byte);
      else {
        const digit = hexDigit(byte);
        if (digit >= 0) this.#addDigit(digit);
        else if (this.#state === sizeStart) this.#fail("a chunk without size");
        else if (byte === CR) this.#state = sizeLineFeed;
        else if (byte === 59) this.#beginExtension();
        else this.#fail(byte === LF ? "a bare LF in a chunk's size line" : "a chunk size that is not hexadecimal");
      }
      if (this.#state === over) return at;
    }
    return at;
  }

  #addDigit(digit: number): void {
    if (this.#state === sizeStart) {
      this.#state = size;
      this.#left = 0;
      this.#digits = 0;
    }
    this.#left = this.#left * 16 + digit;
    // Leading zeros count too: a size needs no more digits than that.
    if (++this.#digits > 15 || this.#left > Number.MAX_SAFE_INTEGER) this.#fail("a chunk size that is too large");
  }

  #beginExtension(): void {
    this.#state = extensionName;
    this.#word = 0;
    this.#countExtension();
  }

  #countExtension(): void {
    if (++this.#extensionBytes > chunkExtensionBytesMax) this.#fail("too many bytes of chunk extensions");
  }

  /**
   * `;name`, `;name=value`, `;name="value"`, read to be dropped. Blanks are refused, as Bun's own parser does: servers
   * differ about where such a line ends.
   */
  #readExtension(byte: number): void {
    switch (this.#state) {
      case extensionQuoted:
        if (byte === 34) this.#state = extensionQuoteEnd;
        else if (byte === 92) this.#state = extensionEscaped;
        else if (!isVisible(byte)) return this.#fail("a malformed chunk extension");
        return this.#countExtension();
      case extensionEscaped:
        if (!isVisible(byte)) return this.#fail("a malformed chunk extension");
        this.#state = extensionQuoted;
        return this.#countExtension();
      case extensionValueStart:
        if (byte === 34) {
          this.#state = extensionQuoted;
          return this.#countExtension();
        }
        this.#state = extensionValue;
    }
    if (this.#state !== extensionQuoteEnd && (classes[byte]! & TOKEN) !== 0) {
      this.#word++;
      return this.#countExtension();
    }
    if (this.#word === 0 && this.#state !== extensionQuoteEnd) return this.#fail("a malformed chunk extension");
    if (byte === CR) this.#state = sizeLineFeed;
    else if (byte === 59) this.#beginExtension();
    else if (byte === 61 && this.#state === extensionName) {
      this.#state = extensionValueStart;
      this.#word = 0;
      this.#countExtension();
    } else this.#fail(byte === LF ? "a bare LF in a chunk's size line" : "a malformed chunk extension");
  }

  /** Lines of the trailer section, or none, up to its empty line; what came in pieces is kept until then. */
  #readTrailers(bytes: Buffer, at: number, end: number): number {
    const kept = this.#keptLength;
    if (kept === 0) {
      if (end - at >= 2 && bytes[at] === CR && bytes[at + 1] === LF) return this.#finish(at + 2);
      // An end found behind `end` is not ours to see.
      const found = bytes[at] === CR ? -1 : findHeadEnd(bytes, at);
      if (found >= 0 && found <= end) return this.#parseTrailers(bytes, at, found, found);
    }
    this.#kept ??= Buffer.allocUnsafe(trailerBytesMax);
    const taken = Math.min(end - at, trailerBytesMax - kept);
    bytes.copy(this.#kept, kept, at, at + taken);
    const length = (this.#keptLength = kept + taken);
    const all = this.#kept.subarray(0, length);
    if (length >= 2 && all[0] === CR) {
      if (all[1] === LF) return this.#finish(at + 2 - kept);
      this.#fail("a bare CR in the trailers");
      return at;
    }
    const found = findHeadEnd(all, Math.max(0, kept - 3));
    if (found >= 0) return this.#parseTrailers(all, 0, found, at + found - kept);
    if (hasBareLineFeed(all, Math.max(0, kept - 1), length)) this.#fail("a bare LF in the trailers");
    else if (length === trailerBytesMax) this.#fail("trailers that are too long");
    return at + taken;
  }

  #parseTrailers(bytes: Buffer, from: number, to: number, consumed: number): number {
    const section = new TrailerSection();
    section.bytes = bytes;
    const status =
      to - from > trailerBytesMax
        ? section.refuse(431, "too long")
        : scanFields(section, bytes, from, to, trailerLinesMax, 0);
    if (status !== 0) {
      this.#fail(`trailers with ${section.reason}`);
      return consumed;
    }
    const lines: FieldLine[] = [];
    section.each((name, value) => lines.push([name, value]));
    this.trailers = lines;
    return this.#finish(consumed);
  }

  #finish(at: number): number {
    this.done = true;
    this.#kept = undefined;
    this.#state = over;
    return at;
  }
}

class TrailerSection extends FieldLines {
  override note(): number {
    return 0;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

function isVisible(byte: number): boolean {
  return byte > 32 && byte < 127;
}
