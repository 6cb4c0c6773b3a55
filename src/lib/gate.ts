/** Gate: a few jobs at once, a bounded number waiting, and no caller may fill the queue alone. */

/** There is no room left to wait in. */
export class GateFull extends Error {}

export class Gate {
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  /** jobs begun or waiting, by caller */
  readonly #perCaller = new Map<string, number>();

  /**
   * @param atOnce jobs running
   * @param waitingMax jobs waiting
   * @param perCallerMax jobs of one caller, running and waiting
   */
  constructor(
    readonly atOnce: number,
    readonly waitingMax: number,
    readonly perCallerMax: number,
  ) {}

  /** @throws GateFull, or whatever the job throws */
  async run<T>(caller: string, job: () => Promise<T>): Promise<T> {
    const own = this.#perCaller.get(caller) ?? 0;
    if (own >= this.perCallerMax) throw new GateFull(`one client has ${own} checks under way`);
    if (this.#running >= this.atOnce && this.#waiting.length >= this.waitingMax)
      throw new GateFull(`${this.#waiting.length} checks are waiting`);
    this.#perCaller.set(caller, own + 1);
    try {
      if (this.#running >= this.atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      else this.#running++;
      try {
        return await job();
      } finally {
        // The place is handed on, so that nobody who comes in between takes it.
        const next = this.#waiting.shift();
        if (next) next();
        else this.#running--;
      }
    } finally {
      const left = this.#perCaller.get(caller)! - 1;
      if (left > 0) this.#perCaller.set(caller, left);
      else this.#perCaller.delete(caller);
    }
  }
}
