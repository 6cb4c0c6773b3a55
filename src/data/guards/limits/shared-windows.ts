/** SharedWindows: the table of windows in memory that workers share, with a lock on each bucket. */
import type { SharedLocks } from "../../../lib/shared-locks.ts";
import type { ClientKey } from "./client-key.ts";
import type { Scope } from "./scope.ts";
import { bucketWords, spareWord, WindowTable, type WindowMemory, type Windows } from "./windows.ts";

export class SharedWindows implements Windows {
  readonly #table: WindowTable;

  /** @param aheadMs what the clock that all share is ahead of this process's */
  constructor(
    windowMs: number,
    private readonly memory: WindowMemory,
    private readonly locks: SharedLocks,
    private readonly aheadMs: number,
  ) {
    this.#table = new WindowTable(windowMs, memory.words.byteLength, memory);
  }

  add(scope: Scope, client: ClientKey, nowMs: number): number {
    const bucket = this.#table.bucketOf(scope, client);
    this.locks.take(bucket + spareWord);
    const count = this.#table.add(scope, client, nowMs + this.aheadMs, bucket);
    this.locks.drop(bucket + spareWord);
    return count;
  }

  count(scope: Scope, client: ClientKey, nowMs: number): number {
    const bucket = this.#table.bucketOf(scope, client);
    this.locks.take(bucket + spareWord);
    const count = this.#table.count(scope, client, nowMs + this.aheadMs, bucket);
    this.locks.drop(bucket + spareWord);
    return count;
  }

  leftMs(scope: Scope, client: ClientKey, nowMs: number): number {
    const bucket = this.#table.bucketOf(scope, client);
    this.locks.take(bucket + spareWord);
    const leftMs = this.#table.leftMs(scope, client, nowMs + this.aheadMs, bucket);
    this.locks.drop(bucket + spareWord);
    return Math.min(leftMs, this.#table.windowMs);
  }

  /** Frees what a process held that has ended. What it counted stays counted: those requests were made. */
  release(lane: number): void {
    for (let bucket = 0; bucket < this.memory.words.length; bucket += bucketWords)
      this.locks.release(bucket + spareWord, lane);
  }
}
