/** Backoff: how long to wait before the next try; longer each time, and never the same for everybody. */

export class Backoff {
  #tries = 0;

  /** @param firstMs the longest first wait  @param mostMs the longest wait of all */
  constructor(
    readonly firstMs: number,
    readonly mostMs: number,
  ) {}

  /** Between half and the whole of a step that doubles. */
  nextMs(): number {
    const stepMs = Math.min(this.mostMs, this.firstMs * 2 ** Math.min(this.#tries++, 30));
    return stepMs * (0.5 + Math.random() / 2);
  }

  /** It has worked: the next wait is a first one again. */
  reset(): void {
    this.#tries = 0;
  }
}

/** Waits, or stops waiting as soon as the signal comes; never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = () => resolve();
  signal.addEventListener("abort", stop, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  });
}
