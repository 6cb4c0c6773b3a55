/** SharedTurns: turn counters of round robin in memory that workers share, so that together they go round exactly. */
import { sharedTurnsMax } from "../../lib/limits.ts";
import type { SharedLocks } from "../../lib/shared-locks.ts";
import { scopeOf } from "../guards/limits/scope.ts";
import type { Turn } from "./turn.ts";

/** An entry in words: key (2), next, then a bit for each worker that uses it; without any it is free. */
const keyWords = 2;
const nextWord = 2;
const ways = 16;
const buckets = sharedTurnsMax / ways;
/** The lock stands before the entries, with a cache line for itself. */
const headWords = 16;

export class SharedTurns {
  readonly #entryWords: number;

  /**
   * @param words as many as {@link sizeOf} says, zeros at the beginning
   * @param lane of this process; among the lanes, or one that uses no turns
   */
  constructor(
    private readonly words: Int32Array,
    private readonly lanes: number,
    private readonly lane: number,
    private readonly locks: SharedLocks,
  ) {
    this.#entryWords = entryWordsOf(lanes);
  }

  /** @returns words needed */
  static sizeOf(lanes: number): number {
    return headWords + sharedTurnsMax * entryWordsOf(lanes);
  }

  /** @returns the turn that all workers use for this pool; undefined when there is no room */
  turn(key: string): Turn | undefined {
    const { words, locks } = this;
    const { high, low } = scopeOf("turn", key);
    locks.take(0);
    let entry = this.#find(high, low);
    if (entry < 0) {
      entry = this.#free(low);
      if (entry >= 0) {
        words[entry] = high;
        words[entry + 1] = low;
        words[entry + nextWord] = 0;
      }
    }
    if (entry >= 0) words[this.#useWord(entry, this.lane)]! |= bitOf(this.lane);
    locks.drop(0);
    return entry < 0 ? undefined : new SharedTurn(words, entry + nextWord);
  }

  /** This process does not use it any more. */
  forget(key: string): void {
    const { high, low } = scopeOf("turn", key);
    this.locks.take(0);
    const entry = this.#find(high, low);
    if (entry >= 0) this.words[this.#useWord(entry, this.lane)]! &= ~bitOf(this.lane);
    this.locks.drop(0);
  }

  /** Forgets all that a process used which has ended. */
  release(lane: number): void {
    const { words, locks } = this;
    locks.release(0, lane);
    locks.take(0);
    for (let entry = headWords; entry < words.length; entry += this.#entryWords)
      words[this.#useWord(entry, lane)]! &= ~bitOf(lane);
    locks.drop(0);
  }

  #find(high: number, low: number): number {
    const { words } = this;
    const first = this.#bucketOf(low);
    for (let entry = first; entry < first + ways * this.#entryWords; entry += this.#entryWords)
      if (words[entry] === (high | 0) && words[entry + 1] === (low | 0) && this.#used(entry)) return entry;
    return -1;
  }

  #free(low: number): number {
    const first = this.#bucketOf(low);
    for (let entry = first; entry < first + ways * this.#entryWords; entry += this.#entryWords)
      if (!this.#used(entry)) return entry;
    return -1;
  }

  #used(entry: number): boolean {
    for (let lane = 0; lane < this.lanes; lane += 32) if (this.words[this.#useWord(entry, lane)] !== 0) return true;
    return false;
  }

  #useWord(entry: number, lane: number): number {
    return entry + keyWords + 1 + (lane >>> 5);
  }

  #bucketOf(low: number): number {
    return headWords + (low & (buckets - 1)) * ways * this.#entryWords;
  }
}

function entryWordsOf(lanes: number): number {
  return keyWords + 1 + Math.ceil(lanes / 32);
}

function bitOf(lane: number): number {
  return 1 << (lane & 31);
}

class SharedTurn implements Turn {
  requests = 0;

  constructor(
    private readonly words: Int32Array,
    private readonly at: number,
  ) {}

  get next(): number {
    return Atomics.load(this.words, this.at);
  }

  advance(from: number, to: number): boolean {
    return Atomics.compareExchange(this.words, this.at, from, to) === from;
  }
}
