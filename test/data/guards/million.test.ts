/** A million clients: what limits remember stays within its bound, and what they still know is exact. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { scopeOf } from "../../../src/data/guards/limits/scope.ts";
import { WindowTable } from "../../../src/data/guards/limits/windows.ts";
import { limiterBytesMax } from "../../../src/lib/limits.ts";
import { mebibytes } from "../../support/programs.ts";

test("a million addresses, named by a trusted proxy, add at most 64 MiB, and each of them passes", async () => {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "million-clients.ts")], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const told = JSON.parse(await child.stdout.text());
  expect(await child.exited).toBe(0);
  expect(told).toMatchObject({ clients: 1_000_000, passed: 1_000_000 });
  if (told.added > limiterBytesMax) throw new Error(`a million clients added ${mebibytes(told.added)}`);
}, 120_000);

test("counts are exact for all that are still tracked, even when a million fall into one window of half as many", () => {
  const windows = new WindowTable(1_000);
  const scope = scopeOf("rate_limit", "a.test");
  const client = (i: number) => ({ high: 0x2001_0db8, low: i });
  const busy = 1_000;
  for (let round = 1; round <= 5; round++)
    for (let i = 0; i < busy; i++) expect(windows.add(scope, client(i), 0)).toBe(round);
  for (let i = busy; i < 1_000_000; i++) windows.add(scope, client(i), 1);
  let tracked = 0;
  for (let i = busy; i < 1_000_000; i++) {
    const count = windows.count(scope, client(i), 2);
    if (count > 1) throw new Error(`client ${i}: expected 1, found ${count}`);
    tracked += count;
  }
  expect(tracked).toBeGreaterThan(400_000);
  // Whoever has used up something is not forgotten for those who have not.
  for (let i = 0; i < busy; i++) expect(windows.count(scope, client(i), 2)).toBe(5);
});
