/**
 * The lines of one decoded field block, as text `name: value\r\n` with offsets: what HTTP/1.1's own heads look like, so
 * that everything behind it takes both. Made anew by each decode; who keeps something copies it.
 */
import { entryOverhead } from "./hpack-table.ts";

/** Offsets and kind of one line, in {@link FieldList.lines}. */
export const perLine = 5;

export class FieldList {
  bytes: Buffer = Buffer.allocUnsafeSlow(16_384);
  /** {@link perLine} per line: start and end of the name, start and end of the value, kind (field-kinds.ts) */
  lines: Int32Array = new Int32Array(64 * perLine);
  count = 0;
  /** bytes written */
  length = 0;
  /** RFC 9113 6.5.2: names, values and 32 per line */
  size = 0;
  /** the list is larger than it may be: what was read of it is gone, and the rest only keeps the table in step */
  refused = false;
  /** all kinds together: whether any line is {@link BAD}, … */
  kinds = 0;
  sizeMax = 0;
  linesMax = 0;

  begin(sizeMax: number, linesMax: number): void {
    this.count = 0;
    this.length = 0;
    this.size = 0;
    this.refused = false;
    this.kinds = 0;
    this.sizeMax = sizeMax;
    this.linesMax = linesMax;
  }

  /** Makes room for so many bytes behind what is written. */
  room(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  /** Takes the line that was written at {@link length}. */
  took(nameLength: number, valueLength: number, kind: number): void {
    const start = this.length;
    this.size += nameLength + valueLength + entryOverhead;
    if (this.refused || this.size > this.sizeMax || this.count === this.linesMax) {
      this.refused = true;
      this.count = 0;
      this.length = 0;
      return;
    }
    const i = this.count * perLine;
    if (i === this.lines.length) {
      const larger = new Int32Array(2 * i);
      larger.set(this.lines);
      this.lines = larger;
    }
    const { lines } = this;
    const value = start + nameLength + 2;
    lines[i] = start;
    lines[i + 1] = start + nameLength;
    lines[i + 2] = value;
    lines[i + 3] = value + valueLength;
    lines[i + 4] = kind;
    this.kinds |= kind;
    this.count++;
    this.length = value + valueLength + 2;
  }
}
