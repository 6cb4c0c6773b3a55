/**
 * HandshakeQueue: lets handshakes go on one per turn of the event loop, first come, first served. Without it a burst is
 * worked off newest first, and the oldest time out (bun-facts 8: two a turn are tolerable, four starve again).
 */

export interface Waiting {
  /** @returns false when it has left meanwhile: then the next one has this turn */
  proceed(): boolean;
}

export class HandshakeQueue {
  /** oldest first; who has had its turn is held no longer, however long a burst lasts */
  readonly #waiting = new Set<Waiting>();
  #scheduled = false;

  get size(): number {
    return this.#waiting.size;
  }

  add(handshake: Waiting): void {
    this.#waiting.add(handshake);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    for (const handshake of this.#waiting) {
      this.#waiting.delete(handshake);
      if (handshake.proceed()) break;
    }
    if (this.#waiting.size > 0) this.#schedule();
  };
}
