/** The verdicts of one target: how many in a row it takes to come up or go down, and when to ask again. */

export class Streak {
  /** undefined until the first verdict */
  up: boolean | undefined;
  /** verdicts in a row against the present state */
  #against = 0;

  /**
   * The first verdict counts at once; later ones need `rise` or `fall` in a row.
   * @returns true when the state changed
   */
  note(up: boolean, rise: number, fall: number): boolean {
    if (this.up === up) {
      this.#against = 0;
      return false;
    }
    this.#against++;
    if (this.up !== undefined && this.#against < (up ? rise : fall)) return false;
    this.up = up;
    this.#against = 0;
    return true;
  }
}

/**
 * Milliseconds until the next check: the interval, give or take 10 %, counted from the start of the last one; at least a
 * tenth of it, so that a server that always times out is not asked without pause. The first gap is anything from a
 * tenth to the whole of it: targets that started together must not stay together.
 * @param random from 0 to 1, exclusive
 */
export function nextDelayMs(intervalMs: number, tookMs: number, first: boolean, random: number): number {
  const periodMs = intervalMs * (first ? 0.1 + 0.9 * random : 0.9 + 0.2 * random);
  return Math.max(periodMs - tookMs, intervalMs / 10);
}
