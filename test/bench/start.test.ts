/** The measure of a start: real programs, every figure there, nothing left behind; a program that fails is told. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { measureStart, showCosts } from "../../bench/start.ts";
import { program } from "../cli/program.ts";

setDefaultTimeout(120_000);

test("a start is measured by its answers", async () => {
  const costs = await measureStart(program, { runs: 2, idleSeconds: 0 });
  expect(costs.helpMs).toHaveLength(2);
  expect(costs.answerMs).toHaveLength(2);
  expect(costs.anonymousBytes[0]!).toBeGreaterThan(2 ** 20);
  expect(costs.anonymousBytes[0]!).toBeLessThan(costs.residentBytes[0]!);
  expect(showCosts(costs)).toMatch(/^--help +\d+ ms \(\d+ to \d+, 2 runs\)\nto first answer .*\nidle memory .* MiB /);
});

test("a program that does not start, or ends with a fault, is an error", async () => {
  const options = { runs: 1, idleSeconds: 0 };
  expect(measureStart(["false"], options)).rejects.toThrow("false --help ended with 1");
  const onlyHelps = ["sh", "-c", '[ "$1" = --help ]', join("sh")];
  expect(measureStart(onlyHelps, options)).rejects.toThrow("ended with 1");
});
