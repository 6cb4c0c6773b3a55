/**
 * HandshakeQueue: lets handshakes go on one per turn of the event loop, first come, first served. Without it a burst is
 * worked off newest first, and the oldest time out (bun-facts 8: two a turn are tolerable, four starve again).
 */

export interface Waiting {
  /** @returns false when it has left meanwhile: then the next one has this turn */
  proceed(): boolean;
}

export class HandshakeQueue {
  /** oldest first, from {@link #at} on; who has had its turn is held no longer, however long a burst lasts */
  #waiting: (Waiting | undefined)[] = [];
  #at = 0;
  #scheduled = false;

  get size(): number {
    return this.#waiting.length - this.#at;
  }

  add(handshake: Waiting): void {
    this.#waiting.push(handshake);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    while (this.size > 0 && !this.#take().proceed());
    if (this.size > 0) this.#schedule();
  };

  #take(): Waiting {
    const first = this.#waiting[this.#at]!;
    this.#waiting[this.#at++] = undefined;
    if (this.#at * 2 < this.#waiting.length) return first;
    this.#waiting = this.#waiting.slice(this.#at);
    this.#at = 0;
    return first;
  }
}
