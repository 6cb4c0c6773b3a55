/**
 * The dynamic table of HPACK (RFC 7541 2.3.2 and 4): lines `name: value\r\n` in one ring of bytes, first in, first out.
 * Adding copies into the ring and makes no object.
 */

/** RFC 7541 4.1: what an entry costs beside its bytes */
export const entryOverhead = 32;

export class DynamicTable {
  bytes: Buffer = nothing;
  /** entries */
  count = 0;
  /** bytes in use, overhead included */
  size = 0;
  /** entries ever added: the number of the newest, from 1 on */
  added = 0;
  #starts = none;
  #nameLengths = none;
  #valueLengths = none;
  #kinds = none;
  #mask = 0;
  #head = 0;

  /** @param max bytes, overhead included; @param capacity the most that `max` is ever set to */
  constructor(
    public max: number,
    readonly capacity: number,
  ) {}

  /** Where an entry lies, for the other questions. @param age 0 = the newest; below {@link count} */
  slot(age: number): number {
    return (this.added - age) & this.#mask;
  }

  start(slot: number): number {
    return this.#starts[slot]!;
  }

  nameLength(slot: number): number {
    return this.#nameLengths[slot]!;
  }

  valueLength(slot: number): number {
    return this.#valueLengths[slot]!;
  }

  kind(slot: number): number {
    return this.#kinds[slot]!;
  }

  /**
   * Adds the line of `bytes` at `start`. One that is larger than the table empties it (RFC 7541 4.4).
   * @returns whether it was added
   */
  add(bytes: Buffer, start: number, nameLength: number, valueLength: number, kind: number): boolean {
    const size = nameLength + valueLength + entryOverhead;
    this.#evictTo(this.max - size);
    if (size > this.max) return false;
    if (this.#mask === 0) this.#open();
    const length = nameLength + valueLength + 4;
    // Twice the table's size holds any line in one piece: what a wrap leaves unused is shorter than the line behind it.
    if (this.#head + length > this.bytes.length) this.#head = 0;
    bytes.copy(this.bytes, this.#head, start, start + length);
    const slot = ++this.added & this.#mask;
    this.#starts[slot] = this.#head;
    this.#nameLengths[slot] = nameLength;
    this.#valueLengths[slot] = valueLength;
    this.#kinds[slot] = kind;
    this.#head += length;
    this.count++;
    this.size += size;
    return true;
  }

  /** RFC 7541 4.3. @param max at most {@link capacity} */
  resize(max: number): void {
    this.max = max;
    this.#evictTo(max);
  }

  #evictTo(size: number): void {
    while (this.count > 0 && this.size > size) {
      const slot = this.slot(this.count - 1);
      this.size -= this.#nameLengths[slot]! + this.#valueLengths[slot]! + entryOverhead;
      this.count--;
    }
  }

  /** A connection that indexes nothing needs no table. */
  #open(): void {
    let slots = 2;
    while (slots < this.capacity / entryOverhead + 1) slots *= 2;
    this.#mask = slots - 1;
    this.bytes = Buffer.allocUnsafeSlow(2 * this.capacity);
    this.#starts = new Int32Array(slots);
    this.#nameLengths = new Int32Array(slots);
    this.#valueLengths = new Int32Array(slots);
    this.#kinds = new Int32Array(slots);
  }
}

const nothing = Buffer.alloc(0);
const none = new Int32Array(0);
