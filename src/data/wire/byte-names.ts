/** A set of field names that is asked with bytes: nearly every name is turned away by one look into a table. */

export class ByteNames {
  readonly #filter = new Uint8Array(256);
  readonly #names: ReadonlySet<string>;

  /** @param names lower case */
  constructor(names: Iterable<string>) {
    this.#names = new Set(names);
    for (const name of this.#names) {
      const bytes = Buffer.from(name, "latin1");
      this.#filter[key(bytes, 0, bytes.length)] = 1;
    }
  }

  /** Whether bytes[start, end) is one of the names, letter case aside. */
  has(bytes: Buffer, start: number, end: number): boolean {
    return (
      this.#filter[key(bytes, start, end)] === 1 && this.#names.has(bytes.toString("latin1", start, end).toLowerCase())
    );
  }
}

/** Length, first and last letter tell most names apart; bit 5 is what upper and lower case differ in. */
function key(bytes: Buffer, start: number, end: number): number {
  return ((end - start) * 31 + (bytes[start]! | 32) * 7 + (bytes[end - 1]! | 32)) & 255;
}
