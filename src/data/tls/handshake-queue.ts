/**
 * HandshakeQueue: lets handshakes go on one per turn of the event loop, first come, first served. Without it a burst is
 * worked off newest first, and the oldest time out (bun-facts 8: two a turn are tolerable, four starve again).
 */

export interface Waiting {
  /** @returns false when it has left meanwhile: then the next one has this turn */
  proceed(): boolean;
}

export class HandshakeQueue {
  #waiting: Waiting[] = [];
  #next = 0;
  #scheduled = false;

  get size(): number {
    return this.#waiting.length - this.#next;
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
    while (this.#next < this.#waiting.length) if (this.#waiting[this.#next++]!.proceed()) break;
    if (this.#next < this.#waiting.length) this.#schedule();
    else {
      this.#waiting = [];
      this.#next = 0;
    }
  };
}
