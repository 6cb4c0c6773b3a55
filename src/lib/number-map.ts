/**
 * Number map: what is open right now, by its number. For things that come and go with every request or connection a Map
 * or Set is dear in JavaScriptCore: when one grows or is tidied up, its former table points to the new one, and so a
 * former table that has grown old keeps all that has passed through since, until a full collection (measured: 31 of 32 MB
 * allocated survived each young collection of a proxy in HTTP/2). Here a place that was left holds nothing.
 */

const placesMin = 16;

export class NumberMap<T> implements Iterable<T> {
  #keys: number[] = new Array<number>(placesMin).fill(-1);
  #values: (T | undefined)[] = new Array<T | undefined>(placesMin).fill(undefined);
  #mask = placesMin - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: number): T | undefined {
    const keys = this.#keys;
    for (let at = placeOf(key) & this.#mask; ; at = (at + 1) & this.#mask) {
      const found = keys[at]!;
      if (found === key) return this.#values[at];
      if (found < 0) return undefined;
    }
  }

  /** @param key not negative, best counted up by one or by two */
  set(key: number, value: T): void {
    if ((this.#size + 1) * 2 > this.#mask + 1) this.#resize((this.#mask + 1) * 2);
    const keys = this.#keys;
    let at = placeOf(key) & this.#mask;
    while (keys[at]! >= 0 && keys[at] !== key) at = (at + 1) & this.#mask;
    if (keys[at]! < 0) this.#size++;
    keys[at] = key;
    this.#values[at] = value;
  }

  /** @returns whether it was there */
  delete(key: number): boolean {
    const keys = this.#keys;
    const mask = this.#mask;
    let at = placeOf(key) & mask;
    for (; keys[at] !== key; at = (at + 1) & mask) if (keys[at]! < 0) return false;
    // Whoever was pushed on by it moves back, so that no search ends too early (Knuth, vol. 3, 6.4, algorithm R).
    for (let next = (at + 1) & mask; keys[next]! >= 0; next = (next + 1) & mask) {
      const home = placeOf(keys[next]!) & mask;
      if (((next - home) & mask) < ((next - at) & mask)) continue;
      keys[at] = keys[next]!;
      this.#values[at] = this.#values[next];
      at = next;
    }
    keys[at] = -1;
    this.#values[at] = undefined;
    this.#size--;
    if (mask >= placesMin * 4 && this.#size * 16 < mask) this.#resize((mask + 1) / 4);
    return true;
  }

  /** Those that are in it now, without whoever leaves before its turn; whoever comes meanwhile is not among them. */
  *[Symbol.iterator](): Iterator<T> {
    for (const key of this.#keys.filter((each) => each >= 0)) {
      const value = this.get(key);
      if (value !== undefined) yield value;
    }
  }

  #resize(places: number): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#reset(places);
    for (let at = 0; at < keys.length; at++) if (keys[at]! >= 0) this.set(keys[at]!, values[at]!);
  }

  #reset(places: number): void {
    this.#keys = new Array<number>(places).fill(-1);
    this.#values = new Array<T | undefined>(places).fill(undefined);
    this.#mask = places - 1;
    this.#size = 0;
  }
}

/** Neighbours get places of their own, also where only odd numbers are given (Gray code). */
function placeOf(key: number): number {
  return (key ^ (key >>> 1)) & 0x3fffffff;
}
