/** SparseWarning: tells of what happens often at most once in a while, and then how often it happened. */

export class SparseWarning {
  #count = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  /** @param tell called with how often it happened since it was last called, this time included */
  constructor(
    readonly everyMs: number,
    readonly tell: (count: number) => void,
  ) {}

  /** It has happened. @param nowMs performance.now() */
  hit(nowMs: number): void {
    this.#count++;
    if (nowMs - this.#toldMs < this.everyMs) return;
    this.#toldMs = nowMs;
    const count = this.#count;
    this.#count = 0;
    this.tell(count);
  }
}
