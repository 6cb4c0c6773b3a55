/**
 * SharedInFlight: requests in flight over all workers, in memory that they share. Each counts in a lane of its own and
 * the sum is what counts, so that what a worker held can be given back when it was killed.
 */
import { limiterBytesMax } from "../../../lib/limits.ts";
import type { SharedLocks } from "../../../lib/shared-locks.ts";
import type { ClientKey } from "./client-key.ts";
import { InFlightMap, type InFlight } from "./in-flight.ts";
import { keyHash } from "./key-hash.ts";
import type { Scope } from "./scope.ts";

/**
 * A bucket in words: its lock and a tag for each entry, which share a cache line; then the entries: scope (2),
 * client (2), a count for each lane. A tag is made of the key's hash; 0 = free, and then all counts are 0.
 */
const ways = 15;
const tagWord = 1;
const headWords = 16;
const keyWords = 4;
/** Room for 61,440 clients at once. */
const bucketsMax = 4_096;

export class SharedInFlight implements InFlight {
  readonly #entryWords: number;
  readonly #bucketWords: number;
  readonly #buckets: number;
  /** clients for whom a bucket had no room: this worker counts them by itself */
  readonly #overflow = new InFlightMap();

  /**
   * @param words as many as {@link sizeOf} says, zeros at the beginning
   * @param seed of the hash, the same in all processes
   * @param lane of this process; among the lanes, or one that lets nobody in
   */
  constructor(
    private readonly words: Int32Array,
    private readonly seed: Int32Array,
    private readonly lanes: number,
    private readonly lane: number,
    private readonly locks: SharedLocks,
  ) {
    this.#entryWords = keyWords + lanes;
    this.#bucketWords = bucketWordsOf(lanes);
    this.#buckets = words.length / this.#bucketWords;
  }

  /** @returns words needed */
  static sizeOf(lanes: number): number {
    let buckets = bucketsMax;
    while (buckets * bucketWordsOf(lanes) * 4 > limiterBytesMax / 4) buckets /= 2;
    return buckets * bucketWordsOf(lanes);
  }

  enter(scope: Scope, client: ClientKey, most: number): boolean {
    const { words, locks } = this;
    const hash = keyHash(this.seed, scope, client);
    const bucket = this.#bucketOf(hash);
    const alone = this.#overflow.count(scope, client);
    locks.take(bucket);
    let way = this.#find(bucket, hash, scope, client);
    const found = way >= 0;
    const free = (found ? this.#sum(bucket, way) : 0) + alone < most;
    if (free) {
      if (!found) way = this.#claim(bucket, hash, scope, client);
      if (way >= 0) words[this.#counts(bucket, way) + this.lane]!++;
    }
    locks.drop(bucket);
    if (!free) return false;
    return way >= 0 || this.#overflow.enter(scope, client, most);
  }

  leave(scope: Scope, client: ClientKey): void {
    const { words, locks } = this;
    const hash = keyHash(this.seed, scope, client);
    const bucket = this.#bucketOf(hash);
    locks.take(bucket);
    const way = this.#find(bucket, hash, scope, client);
    const own = way < 0 ? -1 : this.#counts(bucket, way) + this.lane;
    const shared = own >= 0 && words[own]! > 0;
    if (shared) {
      words[own]!--;
      if (this.#sum(bucket, way) === 0) words[bucket + tagWord + way] = 0;
    }
    locks.drop(bucket);
    if (!shared) this.#overflow.leave(scope, client);
  }

  /** Gives back what a process held that has ended. */
  release(lane: number): void {
    const { words, locks } = this;
    for (let i = 0; i < this.#buckets; i++) {
      const bucket = i * this.#bucketWords;
      locks.release(bucket, lane);
      locks.take(bucket);
      for (let way = 0; way < ways; way++) {
        if (words[bucket + tagWord + way] === 0) continue;
        words[this.#counts(bucket, way) + lane] = 0;
        if (this.#sum(bucket, way) === 0) words[bucket + tagWord + way] = 0;
      }
      locks.drop(bucket);
    }
  }

  #find(bucket: number, hash: number, scope: Scope, client: ClientKey): number {
    const { words } = this;
    const tag = tagOf(hash);
    for (let way = 0; way < ways; way++) {
      if (words[bucket + tagWord + way] !== tag) continue;
      const entry = this.#entryOf(bucket, way);
      if (
        words[entry + 3] === (client.low | 0) &&
        words[entry + 2] === (client.high | 0) &&
        words[entry + 1] === (scope.low | 0) &&
        words[entry] === (scope.high | 0)
      )
        return way;
    }
    return -1;
  }

  /** @returns the way of a new entry; -1 when there is no room */
  #claim(bucket: number, hash: number, scope: Scope, client: ClientKey): number {
    const { words } = this;
    for (let way = 0; way < ways; way++) {
      if (words[bucket + tagWord + way] !== 0) continue;
      const entry = this.#entryOf(bucket, way);
      words[entry] = scope.high;
      words[entry + 1] = scope.low;
      words[entry + 2] = client.high;
      words[entry + 3] = client.low;
      words[bucket + tagWord + way] = tagOf(hash);
      return way;
    }
    return -1;
  }

  #sum(bucket: number, way: number): number {
    const counts = this.#counts(bucket, way);
    let sum = 0;
    for (let lane = 0; lane < this.lanes; lane++) sum += this.words[counts + lane]!;
    return sum;
  }

  #bucketOf(hash: number): number {
    return (hash & (this.#buckets - 1)) * this.#bucketWords;
  }

  #entryOf(bucket: number, way: number): number {
    return bucket + headWords + way * this.#entryWords;
  }

  #counts(bucket: number, way: number): number {
    return this.#entryOf(bucket, way) + keyWords;
  }
}

function bucketWordsOf(lanes: number): number {
  return headWords + ways * (keyWords + lanes);
}

/** The bucket is chosen by the lowest bits: of those the tag can spare one. */
function tagOf(hash: number): number {
  return hash | 1;
}
