#!/usr/bin/env bun
/** The benchmark: starts an origin and the contenders, measures each scenario in turn, prints one table for each. */
import { writeFileSync } from "node:fs";
import { readArguments, usage, type Arguments } from "./arguments.ts";
import { showConfigurations, writeConfigurations } from "./configurations.ts";
import { isContender } from "./contenders/index.ts";
import { chart } from "./chart.ts";
import { featureTable, measureFeatures } from "./in-process.ts";
import { describeMachine } from "./machine.ts";
import { measureScenario, type ScenarioResult } from "./measure.ts";
import { missingFor, participants } from "./participants.ts";
import { environment } from "./processes.ts";
import { catalogue, pacedRowsOf, rowsOf, summary, table } from "./report.ts";
import { noteOf, readResults, writeResults, type Results } from "./results.ts";
import { scenarios, type Scenario } from "./scenarios.ts";
import { isUserContender } from "./user/contenders.ts";
import { rateChart, rateSummary } from "./user/chart.ts";

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
    const named = (of: (scenario: Scenario) => boolean) => [
      ...new Set(
        options.scenarios
          .map((name) => scenarios[name]!)
          .filter(of)
          .flatMap((scenario) => participants(scenario, options)),
      ),
    ];
    const shown = {
      clear: named(({ tls = false, user }) => !tls && !user).filter(isContender),
      tls: named(({ tls = false }) => tls).filter(isContender),
      user: named(({ user }) => user !== undefined).filter(isUserContender),
    };
    console.log(showConfigurations(shown, options.tree, options.baseline));
    return 0;
  }
  if (options.from !== undefined) {
    const results = readResults(options.from);
    for (const result of results.results) console.log(`${table(result)}\n`);
    show(results, options);
    if (options.json !== undefined) writeResults(options.json, results);
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

/** A contender that nobody asked for by name is left out with a line; every other tool is needed. */
function missingTools(options: Arguments): string[] {
  const some = (of: (scenario: Scenario) => boolean) => options.scenarios.some((name) => of(scenarios[name]!));
  const oha = options.oha && hasOha();
  const tools = [
    ["nginx", "nginx-light"],
    ...(some(({ tool = "wrk", user }) => tool === "wrk" && (!user || !oha)) ? [["wrk", "wrk"]] : []),
    ...(some(({ tls = false, user }) => tls || user !== undefined) ? [["openssl", "openssl"]] : []),
    ...["taskset", "setpriv", "prlimit"].map((name) => [name, "util-linux"]),
    ...(some(({ tool, user }) => tool === "h2load" || (!oha && user?.parts.some(({ http2 }) => http2) === true))
      ? [["h2load", "nghttp2-client"]]
      : []),
    ...(options.pace > 0 && some(({ tool, paced = false }) => tool !== "h2load" && paced)
      ? [["h2load", "nghttp2-client; or --pace 0"]]
      : []),
  ];
  const missing = tools
    .filter(([name]) => !Bun.which(name!, environment()))
    .map(([name, from]) => `${name} (Debian: ${from})`);
  const leftOut = new Set<string>();
  for (const scenario of options.scenarios.map((name) => scenarios[name]!)) {
    for (const name of participants(scenario, options)) {
      const program = missingFor(scenario, name, options);
      if (program === undefined) continue;
      if (options.contenders) missing.push(program);
      else leftOut.add(`bench: ${name} is left out: not found: ${program}`);
    }
  }
  for (const line of leftOut) console.error(line);
  return [...new Set(missing)];
}

async function measure(options: Arguments): Promise<number> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort());
  const { rounds, seconds, warmupSeconds } = options;
  const oha = options.oha && hasOha();
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
    for (const workers of scenarios[scenario]!.user ? options.workers : [1]) {
      if (stop.signal.aborted) break;
      try {
        const result = await measureScenario({ ...options, scenario, workers, oha, signal: stop.signal, progress });
        results.push(result);
        console.log(`${table(result)}\n`);
        failed = complain(result) || failed;
      } catch (error) {
        if (stop.signal.aborted) break;
        failed = true;
        console.error(`bench: ${scenario}: ${(error as Error).message}`);
      }
    }
  }
  show(all, options);
  if (options.json !== undefined) writeResults(options.json, all);
  if (stop.signal.aborted) return 130;
  return failed ? 1 : 0;
}

function hasOha(): boolean {
  return Bun.which("oha", environment()) !== null;
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
  const list = results.results;
  const users = list.filter(({ scenario }) => scenarios[scenario]?.user);
  if (list.length > 1) console.log(summary(list));
  if (users.length > 1) console.log(`\n${rateSummary(users)}`);
  if (options.chart === undefined) return;
  const note = noteOf(results);
  writeFileSync(options.chart, users.length === list.length ? rateChart(users, note) : chart(list, note));
}

/** For somebody who watches; a file gets only the tables. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${text}\n`);
}
