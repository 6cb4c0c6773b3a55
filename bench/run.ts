#!/usr/bin/env bun
/** The benchmark: starts an origin and the contenders, measures each scenario in turn, prints one table for each. */
import { readFileSync, writeFileSync } from "node:fs";
import { loadavg, cpus } from "node:os";
import { readArguments, usage, type Arguments } from "./arguments.ts";
import { contenders } from "./contenders/index.ts";
import { contendersOf, measureScenario, type ScenarioResult } from "./measure.ts";
import { planOrigin } from "./origin.ts";
import { environment } from "./processes.ts";
import { catalogue, rowsOf, table } from "./report.ts";
import { scenarios } from "./scenarios.ts";

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
  if (options.help) {
    console.log(`${usage}\n${catalogue()}`);
    return 0;
  }
  if (options.showConfig) {
    console.log(configurations(options));
    return 0;
  }
  const missing = ["nginx", "wrk", "taskset", "setpriv"].filter((tool) => !Bun.which(tool, environment()));
  if (missing.length > 0) {
    console.error(`bench: not found: ${missing.join(", ")} (Debian: apt-get install nginx-light wrk util-linux)`);
    return 1;
  }
  return await measure(options);
}

async function measure(options: Arguments): Promise<number> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort());
  const machine = describeMachine();
  const loadBefore = loadavg()[0]!;
  console.log(
    `${machine.cpu}, ${machine.cores} cores, load ${loadBefore.toFixed(2)}; ${Object.values(machine.versions).join(", ")}`,
  );
  console.log(
    `medians of ${options.rounds} rounds of ${options.seconds} s, in turn, after ${options.warmupSeconds} s of warm-up\n`,
  );
  const results: ScenarioResult[] = [];
  let failed = false;
  for (const scenario of options.scenarios) {
    if (stop.signal.aborted) break;
    try {
      const result = await measureScenario({ ...options, scenario, signal: stop.signal, progress });
      results.push(result);
      console.log(`${table(result)}\n`);
      for (const { contender, errors } of rowsOf(result)) {
        if (errors === 0) continue;
        failed = true;
        console.error(`bench: ${scenario}: ${errors} requests through ${contender} failed: its figures do not count`);
      }
    } catch (error) {
      if (stop.signal.aborted) break;
      failed = true;
      console.error(`bench: ${scenario}: ${(error as Error).message}`);
    }
  }
  if (options.json !== undefined) {
    const { rounds, seconds, warmupSeconds } = options;
    const withMedians = results.map((result) => ({ ...result, medians: rowsOf(result) }));
    const data = {
      date: new Date().toISOString(),
      ...machine,
      loadBefore,
      rounds,
      seconds,
      warmupSeconds,
      results: withMedians,
    };
    writeFileSync(options.json, `${JSON.stringify(data, null, 2)}\n`);
  }
  if (stop.signal.aborted) return 130;
  return failed ? 1 : 0;
}

/** For somebody who watches; a file gets only the tables. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${text}\n`);
}

function describeMachine() {
  const output = (...command: string[]) => {
    const { stdout, stderr } = Bun.spawnSync(command, { env: environment(), cwd: import.meta.dir });
    return `${stdout}${stderr}`.trim().split("\n")[0]!;
  };
  const versions = {
    bun: `Bun ${Bun.version}`,
    nginx: output("nginx", "-v").replace("nginx version: ", ""),
    wrk: output("wrk", "-v").replace(/ Copyright.*/, ""),
    kernel: `Linux ${readFileSync("/proc/sys/kernel/osrelease", "latin1").trim()}`,
    commit: `commit ${output("git", "describe", "--always", "--dirty")}`,
  };
  return { cpu: cpus()[0]?.model ?? "unknown CPU", cores: cpus().length, versions };
}

/** Everything that the contenders of the chosen scenarios and the origin read, with ports and folders as examples. */
function configurations({ scenarios: chosen, contenders: only, tree, baseline }: Arguments): string {
  const names = new Set(chosen.flatMap((name) => contendersOf(scenarios[name]!, only)));
  const plans = [...names].map((name, i) => {
    const folder = `/tmp/aralez-bench/${name}`;
    return { name, ...contenders[name].plan({ folder, port: 8001 + i, originPort: 8000, tree, baseline }) };
  });
  return [{ name: "origin", ...planOrigin("/tmp/aralez-bench/origin", 8000) }, ...plans]
    .flatMap(({ name, command, files }) => [
      `##### ${name}: ${command.join(" ")}`,
      ...Object.entries(files).map(([file, content]) => `### ${name}/${file}\n${content}`),
    ])
    .join("\n");
}
