/**
 * Windows: how many events of a client fell into its running window, which starts with its first event.
 * Exact for every key that is tracked, within a fixed memory: a table of 32-way buckets in one buffer, where the
 * least used window gives way when a bucket is full of running ones.
 */
import { limiterBytesMax } from "../../../lib/limits.ts";
import type { ClientKey } from "./client-key.ts";
import type { Scope } from "./scope.ts";

/** Where events are counted. Workers may share one: its memory has no pointers, and its clock is given. */
export interface Windows {
  /** Counts one event. @returns the events in its window, this one included */
  add(scope: Scope, client: ClientKey, nowMs: number): number;
  /** @returns the events in the running window; 0 when none runs */
  count(scope: Scope, client: ClientKey, nowMs: number): number;
  /** @returns how long the running window still lasts; 0 when none runs */
  leftMs(scope: Scope, client: ClientKey, nowMs: number): number;
}

/** An entry in 32-bit words: scope (2), client (2), count, unused, start in ms (2, a double). */
const entryWords = 8;
const entryBytes = entryWords * 4;
const countWord = 4;
const startDouble = 3;
/** With so many, 200,000 clients in one window still all find a place in 16 MiB. */
const ways = 32;

export class WindowTable implements Windows {
  readonly #buckets: number;
  readonly #seed = crypto.getRandomValues(new Int32Array(2));
  /** made at the first event: whoever limits nothing pays nothing */
  #words: Int32Array | undefined;
  #doubles: Float64Array | undefined;

  /**
   * @param windowMs length of each window
   * @param bytes memory to use, a power of two
   */
  constructor(
    readonly windowMs: number,
    readonly bytes = limiterBytesMax / 4,
  ) {
    this.#buckets = bytes / entryBytes / ways;
  }

  add(scope: Scope, client: ClientKey, nowMs: number): number {
    const words = this.#memory();
    const entry = this.#place(words, scope, client, nowMs);
    return ++words[entry + countWord]!;
  }

  count(scope: Scope, client: ClientKey, nowMs: number): number {
    const entry = this.#running(scope, client, nowMs);
    return entry < 0 ? 0 : this.#words![entry + countWord]!;
  }

  leftMs(scope: Scope, client: ClientKey, nowMs: number): number {
    const entry = this.#running(scope, client, nowMs);
    return entry < 0 ? 0 : this.#startOf(entry) + this.windowMs - nowMs;
  }

  #memory(): Int32Array {
    if (this.#words) return this.#words;
    // The kernel gives its pages one by one, as they are written.
    const memory = new ArrayBuffer(this.bytes);
    this.#doubles = new Float64Array(memory);
    return (this.#words = new Int32Array(memory));
  }

  /** @returns the entry's first word, or -1 when no window of this key runs */
  #running(scope: Scope, client: ClientKey, nowMs: number): number {
    const words = this.#words;
    if (!words) return -1;
    const first = this.#bucketOf(scope, client);
    for (let entry = first; entry < first + ways * entryWords; entry += entryWords) {
      if (words[entry + countWord] === 0) return -1;
      if (holds(words, entry, scope, client)) return this.#runs(entry, nowMs) ? entry : -1;
    }
    return -1;
  }

  /** @returns the entry of this key with its window running; a new one counts 0 */
  #place(words: Int32Array, scope: Scope, client: ClientKey, nowMs: number): number {
    const first = this.#bucketOf(scope, client);
    let victim = first;
    let least = Infinity;
    for (let entry = first; entry < first + ways * entryWords; entry += entryWords) {
      // Entries are taken in order and never given back: behind one that was never used there is none.
      if (words[entry + countWord] === 0) {
        if (least > 0) victim = entry;
        break;
      }
      const runs = this.#runs(entry, nowMs);
      if (holds(words, entry, scope, client)) {
        if (runs) return entry;
        victim = entry;
        break;
      }
      // Whoever is being limited has the highest count, and stays: a flood of other addresses does not free him.
      const count = runs ? words[entry + countWord]! : 0;
      if (count >= least) continue;
      least = count;
      victim = entry;
    }
    words[victim] = scope.high;
    words[victim + 1] = scope.low;
    words[victim + 2] = client.high;
    words[victim + 3] = client.low;
    words[victim + countWord] = 0;
    this.#doubles![victim / 2 + startDouble] = nowMs;
    return victim;
  }

  #runs(entry: number, nowMs: number): boolean {
    return nowMs - this.#startOf(entry) < this.windowMs;
  }

  #startOf(entry: number): number {
    return this.#doubles![entry / 2 + startDouble]!;
  }

  /** Murmur3's mixing with a secret seed: nobody can choose addresses that meet in one bucket. */
  #bucketOf(scope: Scope, client: ClientKey): number {
    let hash = mix(this.#seed[0]!, scope.high);
    hash = mix(hash, scope.low);
    hash = mix(hash, client.high);
    hash = mix(hash, client.low) ^ this.#seed[1]!;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
    return ((hash ^ (hash >>> 16)) & (this.#buckets - 1)) * ways * entryWords;
  }
}

function holds(words: Int32Array, entry: number, scope: Scope, client: ClientKey): boolean {
  return (
    words[entry + 3] === (client.low | 0) &&
    words[entry + 2] === (client.high | 0) &&
    words[entry + 1] === (scope.low | 0) &&
    words[entry] === (scope.high | 0)
  );
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b87_3593);
  hash ^= k;
  hash = (hash << 13) | (hash >>> 19);
  return (Math.imul(hash, 5) + 0xe654_6b64) | 0;
}
