/**
 * Windows: how many events of a client fell into its running window, which starts with its first event.
 * Exact for every key that is tracked, within a fixed memory: a table of 32-way buckets in one buffer, where the
 * least used window gives way when a bucket is full of running ones.
 */
import { limiterBytesMax } from "../../../lib/limits.ts";
import type { ClientKey } from "./client-key.ts";
import { mix, spread } from "./key-hash.ts";
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

/** An entry in 32-bit words: scope (2), client (2), count, a word for others, start in ms (2, a double). */
const entryWords = 8;
const entryBytes = entryWords * 4;
const countWord = 4;
/** of a bucket's first entry: free for whoever puts locks on buckets */
export const spareWord = 5;
const startDouble = 3;
/** With so many, 200,000 clients in one window still all find a place in 16 MiB. */
const ways = 32;
export const bucketWords = ways * entryWords;

/** Where a table keeps its entries, when it is not the only one that uses them. */
export interface WindowMemory {
  /** all zeros at the beginning */
  readonly words: Int32Array;
  /** the same bytes */
  readonly doubles: Float64Array;
  /** of the hash: two random words */
  readonly seed: Int32Array;
}

export class WindowTable implements Windows {
  readonly #buckets: number;
  readonly #seed: Int32Array;
  /** made at the first event: whoever limits nothing pays nothing */
  #words: Int32Array | undefined;
  #doubles: Float64Array | undefined;

  /**
   * @param windowMs length of each window
   * @param bytes memory to use, a power of two
   * @param memory of that size; its own if absent
   */
  constructor(
    readonly windowMs: number,
    readonly bytes = limiterBytesMax / 4,
    memory?: WindowMemory,
  ) {
    this.#buckets = bytes / entryBytes / ways;
    this.#seed = memory?.seed ?? crypto.getRandomValues(new Int32Array(2));
    this.#words = memory?.words;
    this.#doubles = memory?.doubles;
  }

  add(scope: Scope, client: ClientKey, nowMs: number, bucket = this.bucketOf(scope, client)): number {
    return this.#countOne(this.#memory(), bucket, scope, client, nowMs);
  }

  count(scope: Scope, client: ClientKey, nowMs: number, bucket = this.bucketOf(scope, client)): number {
    const entry = this.#running(bucket, scope, client, nowMs);
    return entry < 0 ? 0 : this.#words![entry + countWord]!;
  }

  leftMs(scope: Scope, client: ClientKey, nowMs: number, bucket = this.bucketOf(scope, client)): number {
    const entry = this.#running(bucket, scope, client, nowMs);
    return entry < 0 ? 0 : this.#startOf(entry) + this.windowMs - nowMs;
  }

  /** @returns the first word of the bucket where this key is counted */
  bucketOf(scope: Scope, client: ClientKey): number {
    // `keyHash` written out: called, it is one function too many for the compiler to inline, 27 ns instead of 18.
    let hash = mix(this.#seed[0]!, scope.high);
    hash = mix(hash, scope.low);
    hash = mix(hash, client.high);
    hash = mix(hash, client.low) ^ this.#seed[1]!;
    return (spread(hash) & (this.#buckets - 1)) * bucketWords;
  }

  #memory(): Int32Array {
    if (this.#words) return this.#words;
    // The kernel gives its pages one by one, as they are written.
    const memory = new ArrayBuffer(this.bytes);
    this.#doubles = new Float64Array(memory);
    return (this.#words = new Int32Array(memory));
  }

  /** @returns the entry's first word, or -1 when no window of this key runs */
  #running(first: number, scope: Scope, client: ClientKey, nowMs: number): number {
    const words = this.#words;
    if (!words) return -1;
    for (let entry = first; entry < first + bucketWords; entry += entryWords) {
      if (words[entry + countWord] === 0) return -1;
      if (holds(words, entry, scope, client)) return this.#runs(entry, nowMs) ? entry : -1;
    }
    return -1;
  }

  /** @returns the count of this key's window, which begins if none runs */
  #countOne(words: Int32Array, first: number, scope: Scope, client: ClientKey, nowMs: number): number {
    let victim = first;
    let least = Infinity;
    for (let entry = first; entry < first + bucketWords; entry += entryWords) {
      // Entries are taken in order and never given back: behind one that was never used there is none.
      if (words[entry + countWord] === 0) {
        if (least > 0) victim = entry;
        break;
      }
      const runs = this.#runs(entry, nowMs);
      if (holds(words, entry, scope, client)) {
        if (runs) return ++words[entry + countWord]!;
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
    // Never 0 in between, which would hide the entries behind: a process that shares the table may be killed here.
    words[victim + countWord] = 1;
    this.#doubles![victim / 2 + startDouble] = nowMs;
    return 1;
  }

  /** One that begins far in the future was begun by a clock that has gone wrong, and would hardly ever end. */
  #runs(entry: number, nowMs: number): boolean {
    return Math.abs(nowMs - this.#startOf(entry)) < this.windowMs;
  }

  #startOf(entry: number): number {
    return this.#doubles![entry / 2 + startDouble]!;
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
