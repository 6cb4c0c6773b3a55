/** The results of a run as JSON: every round, its medians, and what it was measured on. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Machine } from "./machine.ts";
import type { ScenarioResult } from "./measure.ts";
import { pacedRowsOf, rowsOf } from "./report.ts";

export interface Results extends Machine {
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly results: readonly ScenarioResult[];
}

export function writeResults(file: string, results: Results): void {
  const withMedians = results.results.map((result) => ({
    ...result,
    medians: rowsOf(result),
    pacedMedians: pacedRowsOf(result),
  }));
  writeFileSync(file, `${JSON.stringify({ ...results, results: withMedians }, null, 2)}\n`);
}

/** Of several runs of the same programs, one after the other. @throws Error when a file is not one of {@link writeResults} */
export function readResults(files: readonly string[]): Results {
  const all = files.map(readOne);
  return { ...all[0]!, results: all.flatMap(({ results }) => results) };
}

function readOne(file: string): Results {
  const found = JSON.parse(readFileSync(file, "utf8")) as Partial<Results>;
  if (!Array.isArray(found.results) || !found.results.every((result) => result?.rounds && result.reference))
    throw new Error(`Cannot read results from "${file}": expected what --json wrote`);
  return found as Results;
}

/** One line about a run. */
export function noteOf(run: Results): string {
  const { date, cpu, cores, loadBefore, versions, rounds, seconds, warmupSeconds, results } = run;
  const loads = [loadBefore, ...results.flatMap(({ load }) => load ?? [])];
  const [least, most] = [Math.min(...loads).toFixed(1), Math.max(...loads).toFixed(1)];
  const machine = `${cpu}, ${cores} cores, load ${least === most ? least : `${least} to ${most}`}`;
  const method = `medians of ${rounds} rounds of ${seconds} s, in turn, after ${warmupSeconds} s of warm-up`;
  return [date.slice(0, 10), machine, Object.values(versions).join(", "), method].join("; ");
}
