/** Turn: what a route counts for itself; outlives tables. */
export interface Turn {
  /** of round robin: where in the ring to look first */
  readonly next: number;
  /** that have ended, in this process */
  requests: number;
  /** Leaves the next turn to `to`. @returns false, and does nothing, when `from` is not the next any more */
  advance(from: number, to: number): boolean;
}

/** Of a process that goes round by itself. */
export class LocalTurn implements Turn {
  requests = 0;

  constructor(public next = 0) {}

  advance(_from: number, to: number): boolean {
    this.next = to;
    return true;
  }
}
