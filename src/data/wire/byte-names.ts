/** A set of field names that is asked with bytes: nearly every name is turned away by its length and first letter. */

/** Longer names share one place: slower, never wrong. */
const lengthsMax = 64;

export class ByteNames {
  /** by length: the first letters of the names so long, a bit for each (bit 5 and above of a letter do not count) */
  readonly #firsts = new Int32Array(lengthsMax);
  readonly #names: string[][] = Array.from({ length: lengthsMax }, () => []);

  /** @param names lower case */
  constructor(names: Iterable<string>) {
    for (const name of new Set(names)) {
      const place = Math.min(name.length, lengthsMax - 1);
      this.#firsts[place]! |= 1 << (name.charCodeAt(0) & 31);
      this.#names[place]!.push(name);
    }
  }

  /** Whether bytes[start, end) is one of the names, letter case aside. */
  has(bytes: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    const place = length < lengthsMax ? length : lengthsMax - 1;
    return ((this.#firsts[place]! >>> (bytes[start]! & 31)) & 1) !== 0 && this.#find(bytes, start, length, place);
  }

  #find(bytes: Uint8Array, start: number, length: number, place: number): boolean {
    const names = this.#names[place]!;
    for (let i = 0; i < names.length; i++) if (isName(bytes, start, length, names[i]!)) return true;
    return false;
  }
}

function isName(bytes: Uint8Array, start: number, length: number, name: string): boolean {
  if (name.length !== length) return false;
  for (let i = 0; i < length; i++) {
    const wanted = name.charCodeAt(i);
    const byte = bytes[start + i]!;
    if (byte !== wanted && (wanted < 97 || wanted > 122 || byte + 32 !== wanted)) return false;
  }
  return true;
}
