/** A map that forgets its least recently used entry when full: every cache keyed by outside input is one. */
export class BoundedMap<K, V> {
  #entries = new Map<K, V>();

  /** @param entriesMax at least 1. */
  constructor(readonly entriesMax: number) {}

  get size(): number {
    return this.#entries.size;
  }

  keys(): IterableIterator<K> {
    return this.#entries.keys();
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: K, value: V): void {
    this.#entries.delete(key);
    if (this.#entries.size >= this.entriesMax) this.#entries.delete(this.#entries.keys().next().value as K);
    this.#entries.set(key, value);
  }

  delete(key: K): void {
    this.#entries.delete(key);
  }
}
