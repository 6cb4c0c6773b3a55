/** A set of field names that is asked with bytes: nearly every name is turned away by one look into a table. */

const slots = 1024;

export class ByteNames {
  /** 0, or 1 + the place of the names that share this key */
  readonly #places = new Uint8Array(slots);
  readonly #names: string[][] = [];

  /** @param names lower case */
  constructor(names: Iterable<string>) {
    for (const name of new Set(names)) {
      const bytes = Buffer.from(name, "latin1");
      const at = key(bytes, 0, bytes.length);
      // More names than places share the last one: slower, never wrong.
      if (this.#places[at] === 0) this.#places[at] = Math.min(255, this.#names.length + 1);
      (this.#names[this.#places[at]! - 1] ??= []).push(name);
    }
  }

  /** Whether bytes[start, end) is one of the names, letter case aside. */
  has(bytes: Uint8Array, start: number, end: number): boolean {
    const place = this.#places[key(bytes, start, end)]!;
    if (place === 0) return false;
    for (const name of this.#names[place - 1]!) if (isName(bytes, start, end, name)) return true;
    return false;
  }
}

/** Length, first and last letter tell most names apart; bit 5 is what upper and lower case differ in. */
function key(bytes: Uint8Array, start: number, end: number): number {
  return ((end - start) * 33 + (bytes[start]! | 32) * 17 + (bytes[end - 1]! | 32) * 5) & (slots - 1);
}

function isName(bytes: Uint8Array, start: number, end: number, name: string): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    const wanted = name.charCodeAt(i);
    const byte = bytes[start + i]!;
    if (byte !== wanted && (wanted < 97 || wanted > 122 || byte + 32 !== wanted)) return false;
  }
  return true;
}
