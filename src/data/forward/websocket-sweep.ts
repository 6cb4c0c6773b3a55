/** One clock for all WebSockets: a timer each would cost more than the messages between two ticks. */

const everyMs = 1_000;

export interface Swept {
  sweep(nowMs: number): void;
}

const watched = new Set<Swept>();
let timer: Timer | undefined;

export function watch(one: Swept): void {
  watched.add(one);
  // Never keeps the process alive by itself.
  timer ??= setInterval(sweepAll, everyMs).unref();
}

export function unwatch(one: Swept): void {
  watched.delete(one);
  if (watched.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

/** WebSockets that stand or are ending. */
export function watchedCount(): number {
  return watched.size;
}

function sweepAll(): void {
  const nowMs = performance.now();
  for (const one of watched) one.sweep(nowMs);
}
