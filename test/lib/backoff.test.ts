/** How long to wait before the next try. */
import { expect, test } from "bun:test";
import { Backoff, pause } from "../../src/lib/backoff.ts";

test("each wait lies in the upper half of a step that doubles, up to the longest; a success begins anew", () => {
  const backoff = new Backoff(100, 1_000);
  for (const stepMs of [100, 200, 400, 800, 1_000, 1_000]) {
    const waitMs = backoff.nextMs();
    expect(waitMs).toBeGreaterThanOrEqual(stepMs / 2);
    expect(waitMs).toBeLessThanOrEqual(stepMs);
  }
  backoff.reset();
  expect(backoff.nextMs()).toBeLessThanOrEqual(100);
});

test("a pause ends at once when it is not wanted any more", async () => {
  const stop = new AbortController();
  const paused = pause(3_600_000, stop.signal);
  stop.abort();
  await paused;
  await pause(3_600_000, stop.signal);
  expect(stop.signal.aborted).toBe(true);
});
