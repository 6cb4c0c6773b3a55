/** Text that arrives in pieces, some of them very small. */
import { expect, test } from "bun:test";
import { Gathered, Lines } from "../../../src/control/discovery/lines.ts";
import { kubernetesEventBytesMax } from "../../../src/lib/limits.ts";

test("lines come out the same however their bytes arrive, letters of several bytes too", () => {
  const text = `first\n\nsé€c🙂nd\n${"x".repeat(20_000)}\nlast\n`;
  const bytes = Buffer.from(text);
  const wanted = text.split("\n").filter((line) => line !== "");
  for (let size = 1; size < 40; size++) {
    const seen: string[] = [];
    const lines = new Lines((line) => seen.push(line));
    for (let at = 0; at < bytes.length; at += size) lines.add(bytes.subarray(at, at + size));
    expect(seen).toEqual(wanted);
  }
});

test("a line without end is given up at its bound, byte by byte or at once", () => {
  const whole = new Lines(() => {});
  expect(() => whole.add(Buffer.alloc(kubernetesEventBytesMax + 1, "x"))).toThrow("longer than");
  const dripped = new Lines(() => {});
  dripped.add(Buffer.alloc(kubernetesEventBytesMax - 3, "x"));
  const one = Buffer.from("x");
  for (let i = 0; i < 3; i++) dripped.add(one);
  expect(() => dripped.add(one)).toThrow("longer than");
});

test("two million pieces of a byte cost little more than two million bytes", () => {
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const gathered = new Gathered();
  const one = Buffer.from("x");
  for (let i = 0; i < 2_000_000; i++) gathered.add(one, 0, 1);
  expect(process.memoryUsage.rss() - before).toBeLessThan(32 << 20);
  expect(gathered.take().length).toBe(2_000_000);
  expect(gathered.take()).toBe("");
});
