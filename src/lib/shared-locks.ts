/**
 * SharedLocks: short locks in memory that processes share, each one word, held for some ten nanoseconds.
 *
 * A holder may be killed or stopped in the middle. Its word says who it is and which of its holds this is, so that
 * somebody who waits can see that it is always the same hold: then he takes the lock over. What it guards must be in
 * order at every instruction (a count is right, or the entry is not there yet), since nobody repairs it.
 */
import { lockNapsMax, lockSpins } from "./limits.ts";

/** Bits of a word that say whose hold it is; the others number the holds. 0 = free. */
const ownerBits = 11;
/** Owners are numbered from 0 and stand in the word as number + 1. */
export const lockOwnersMax = 2 ** ownerBits - 1;

export class SharedLocks {
  readonly #words: Int32Array;
  /** what this process wrote, or will write next, into the word that it holds */
  #hold: number;

  /** @param owner a number that no other process uses, below {@link lockOwnersMax} */
  constructor(words: Int32Array, owner: number) {
    this.#words = words;
    this.#hold = owner + 1;
  }

  /** @param at index of the word; a process holds one lock at a time, and never over a turn of its loop */
  take(at: number): void {
    const hold = (this.#hold = (this.#hold + (1 << ownerBits)) | 0);
    if (Atomics.compareExchange(this.#words, at, 0, hold) !== 0) this.#wait(at, hold);
  }

  drop(at: number): void {
    // Not a plain store: it may have been taken over.
    Atomics.compareExchange(this.#words, at, this.#hold, 0);
  }

  /** Frees the lock if `owner`, whose process has ended, holds it. */
  release(at: number, owner: number): void {
    const held = Atomics.load(this.#words, at);
    if ((held & lockOwnersMax) === owner + 1) Atomics.compareExchange(this.#words, at, held, 0);
  }

  #wait(at: number, hold: number): void {
    let seen = 0;
    let naps = 0;
    for (let spins = 1; ; spins++) {
      const held = Atomics.compareExchange(this.#words, at, 0, hold);
      if (held === 0) return;
      if (held !== seen) {
        seen = held;
        naps = 0;
      }
      if (spins % lockSpins !== 0) continue;
      // Naps are counted instead of time: when the whole machine stands still, the holder has not had its turn either.
      if (++naps > lockNapsMax && Atomics.compareExchange(this.#words, at, held, hold) === held) return;
      Bun.sleepSync(1);
    }
  }
}
