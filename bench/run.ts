#!/usr/bin/env bun
/** The benchmark: starts an origin and the contenders, measures each scenario in turn, prints one table for each. */
import { writeFileSync } from "node:fs";
import { readArguments, usage, type Arguments } from "./arguments.ts";
import { showConfigurations, writeConfigurations } from "./configurations.ts";
import { missingProgram, usual, type ContenderName } from "./contenders/index.ts";
import { chart } from "./chart.ts";
import { featureTable, measureFeatures } from "./in-process.ts";
import { describeMachine } from "./machine.ts";
import { measureScenario, type ScenarioResult } from "./measure.ts";
import { environment } from "./processes.ts";
import { catalogue, pacedRowsOf, rowsOf, summary, table } from "./report.ts";
import { noteOf, readResults, writeResults, type Results } from "./results.ts";
import { scenarios, type Scenario } from "./scenarios.ts";

/** Clock ticks are 10 ms: below so many of them one more or less shows in the figure. */
const cpuSecondsMin = 0.25;

process.exit(await main(process.argv.slice(2)));

/** @returns the exit code: 0 all measured, 1 something failed or answers were wrong, 2 used wrongly, 130 interrupted */
async function main(args: string[]): Promise<number> {
  let options: Arguments;
  try {
    options = readArguments(args);
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  try {
    return await act(options);
  } catch (error) {
    console.error(`bench: ${(error as Error).message}`);
    return 1;
  }
}

async function act(options: Arguments): Promise<number> {
  if (options.help) {
    console.log(`${usage}\n${catalogue()}`);
    return 0;
  }
  if (options.writeConfigs) {
    writeConfigurations();
    return 0;
  }
  if (options.showConfig) {
    const named = (tls: boolean) => [
      ...new Set(
        options.scenarios
          .filter((name) => (scenarios[name]!.tls ?? false) === tls)
          .flatMap((name) => participants(name, options)),
      ),
    ];
    console.log(showConfigurations(named(false), named(true), options.tree, options.baseline));
    return 0;
  }
  if (options.from !== undefined) {
    const results = readResults(options.from);
    for (const result of results.results) console.log(`${table(result)}\n`);
    show(results, options);
    return 0;
  }
  if (options.inProcess > 0) {
    console.log(featureTable(await measureFeatures(options.inProcess)));
    return 0;
  }
  const missing = missingTools(options);
  if (missing.length > 0) {
    console.error(`bench: not found: ${missing.join(", ")}`);
    return 1;
  }
  return await measure(options);
}

/** Who would take part, were everything installed. */
function participants(scenario: string, { contenders }: Arguments): readonly ContenderName[] {
  const { only, also = [] } = scenarios[scenario]!;
  return contenders ?? ((only ?? [...usual, ...also]) as ContenderName[]);
}

/** A contender that nobody asked for by name is left out with a line; every other tool is needed. */
function missingTools(options: Arguments): string[] {
  const some = (of: (scenario: Scenario) => boolean) => options.scenarios.some((name) => of(scenarios[name]!));
  const tools = [
    ["nginx", "nginx-light"],
    ...(some(({ tool = "wrk" }) => tool === "wrk") ? [["wrk", "wrk"]] : []),
    ...(some(({ tls = false }) => tls) ? [["openssl", "openssl"]] : []),
    ...["taskset", "setpriv", "prlimit"].map((name) => [name, "util-linux"]),
    ...(some(({ tool }) => tool === "h2load") ? [["h2load", "nghttp2-client"]] : []),
    ...(options.pace > 0 && some(({ tool, paced = false }) => tool !== "h2load" && paced)
      ? [["h2load", "nghttp2-client; or --pace 0"]]
      : []),
  ];
  const missing = tools
    .filter(([name]) => !Bun.which(name!, environment()))
    .map(([name, from]) => `${name} (Debian: ${from})`);
  for (const name of new Set(options.scenarios.flatMap((scenario) => participants(scenario, options)))) {
    const program = missingProgram(name);
    if (program === undefined) continue;
    if (options.contenders) missing.push(program);
    else console.error(`bench: ${name} is left out: not found: ${program}`);
  }
  return [...new Set(missing)];
}

async function measure(options: Arguments): Promise<number> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort());
  const { rounds, seconds, warmupSeconds } = options;
  const results: ScenarioResult[] = [];
  const all: Results = {
    date: new Date().toISOString(),
    ...describeMachine(options.tree),
    rounds,
    seconds,
    warmupSeconds,
    results,
  };
  console.log(`${noteOf(all)}\n`);
  let failed = false;
  for (const scenario of options.scenarios) {
    if (stop.signal.aborted) break;
    try {
      const result = await measureScenario({ ...options, scenario, signal: stop.signal, progress });
      results.push(result);
      console.log(`${table(result)}\n`);
      failed = complain(result) || failed;
    } catch (error) {
      if (stop.signal.aborted) break;
      failed = true;
      console.error(`bench: ${scenario}: ${(error as Error).message}`);
    }
  }
  show(all, options);
  if (options.json !== undefined) writeResults(options.json, all);
  if (stop.signal.aborted) return 130;
  return failed ? 1 : 0;
}

/** @returns whether some answers were wrong, or something could not be measured */
function complain(result: ScenarioResult): boolean {
  const rows = [...rowsOf(result), ...pacedRowsOf(result)].filter(({ errors }) => errors > 0);
  for (const row of rows) {
    const why = "why" in row && row.why !== undefined ? ` (${row.why})` : "";
    console.error(
      `bench: ${result.scenario}: ${row.errors} requests through ${row.contender} failed${why}: its figures do not count`,
    );
  }
  for (const { contender, cpuSecondsLeast } of rowsOf(result)) {
    if (cpuSecondsLeast >= cpuSecondsMin) continue;
    const had = `${contender} had ${cpuSecondsLeast.toFixed(2)} s of CPU time in one of its rounds`;
    console.error(
      `bench: ${result.scenario}: ${had}: too little to tell; the machine is too busy, or rounds too short`,
    );
  }
  if (result.pacedError !== undefined)
    console.error(`bench: ${result.scenario}, at a fixed rate: ${result.pacedError}`);
  return rows.length > 0 || result.pacedError !== undefined;
}

function show(results: Results, options: Arguments): void {
  if (results.results.length > 1) console.log(summary(results.results));
  if (options.chart !== undefined) writeFileSync(options.chart, chart(results.results, noteOf(results)));
}

/** For somebody who watches; a file gets only the tables. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${text}\n`);
}
