/** The arguments of the benchmark, read and checked. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { everyContender, type Choice } from "./participants.ts";
import { scenarios } from "./scenarios.ts";

export interface Arguments extends Choice {
  readonly help: boolean;
  readonly showConfig: boolean;
  readonly scenarios: readonly string[];
  /** of the user's benchmark: each scenario is measured with each of these numbers */
  readonly workers: readonly number[];
  /** whether oha may make its load */
  readonly oha: boolean;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  /** per cent of the reference's requests/s at which latencies are measured too; 0 = not */
  readonly pace: number;
  /** file for the results, or undefined */
  readonly json: string | undefined;
  /** file for the chart, or undefined */
  readonly chart: string | undefined;
  /** files with earlier results: nothing is measured, they are only shown */
  readonly from: readonly string[] | undefined;
  readonly writeConfigs: boolean;
  /** measure the features inside this process, over so many exchanges each; 0 = not */
  readonly inProcess: number;
  readonly tree: string;
  readonly baseline: string | undefined;
}

export const usage = `Usage: bun run bench [options]

  --scenario NAME[,…]    only these (default: all)
  --contenders NAME[,…]  only these, in this order (default: aralez,nginx,haproxy,caddy
                         as far as they are installed, and what a scenario adds)
  --seconds N            length of a round (default: 5)
  --warmup N             seconds of load before the rounds (default: 3)
  --rounds N             rounds of each contender, in turn (default: 3)
  --pace N               latencies also at N % of nginx's requests/s, where a scenario is fit for it (default: 60; 0 = off)
  --json FILE            also write all rounds and medians there
  --chart FILE           also draw the CPU ratios there, as SVG; of user-* alone, requests for the same CPU time
  --from FILE[,FILE]     measure nothing: show the results of earlier --json, for example with --chart; --json joins them
  --tree DIR             the checkout to measure as "aralez" (default: this one)
  --baseline DIR         another checkout, as the contender "baseline"
  --workers N[,N]        user-*: workers of each contender (default: 1)
  --binary FILE          user-*: the program measured as "aralez" (default: what npm run build leaves in dist/)
  --no-oha               user-*: wrk and h2load make the load, also where oha is installed
  --in-process N         measure no scenario: what each optional feature costs inside the process, without the kernel,
                         over N exchanges each (1000000 takes about three minutes)
  --show-config          print the generated configurations and exit
  --write-configs        write those of the usual contenders to bench/configs/ and exit
`;

/** @throws Error whose message is for the user */
export function readArguments(args: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: "string" },
      contenders: { type: "string" },
      seconds: { type: "string", default: "5" },
      warmup: { type: "string", default: "3" },
      rounds: { type: "string", default: "3" },
      pace: { type: "string", default: "60" },
      json: { type: "string" },
      chart: { type: "string" },
      from: { type: "string" },
      "in-process": { type: "string", default: "0" },
      tree: { type: "string", default: join(import.meta.dir, "..") },
      baseline: { type: "string" },
      workers: { type: "string", default: "1" },
      binary: { type: "string" },
      "no-oha": { type: "boolean", default: false },
      "show-config": { type: "boolean", default: false },
      "write-configs": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const chosen = names(values.contenders, "--contenders", everyContender);
  const tree = checkout(values.tree, "--tree");
  const baseline = values.baseline === undefined ? undefined : checkout(values.baseline, "--baseline");
  return {
    help: values.help,
    showConfig: values["show-config"],
    scenarios: names(values.scenario, "--scenario", scenarios) ?? Object.keys(scenarios),
    contenders: chosen ?? (baseline === undefined ? undefined : ["aralez", "baseline", "nginx"]),
    seconds: whole(values.seconds, "--seconds", 1, 600),
    warmupSeconds: whole(values.warmup, "--warmup", 1, 600),
    rounds: whole(values.rounds, "--rounds", 1, 100),
    pace: whole(values.pace, "--pace", 0, 95),
    json: path(values.json),
    chart: path(values.chart),
    from: values.from?.split(",").map((file) => resolve(file)),
    writeConfigs: values["write-configs"],
    inProcess: whole(values["in-process"], "--in-process", 0, 99_999_999),
    tree,
    baseline,
    workers: values.workers.split(",").map((text) => whole(text, "--workers", 1, 64)),
    binary: path(values.binary) ?? join(tree, `dist/aralez-${machine()}-glibc`),
    oha: !values["no-oha"],
  };
}

function names(list: string | undefined, flag: string, known: object): string[] | undefined {
  if (list === undefined) return undefined;
  const found = [...new Set(list.split(",").filter(Boolean))];
  const wrong = found.filter((name) => !Object.hasOwn(known, name));
  if (found.length === 0 || wrong.length > 0)
    throw new Error(`${flag}: unknown "${wrong.join(",") || list}", expected some of ${Object.keys(known).join(", ")}`);
  return found;
}

/** wrk takes whole seconds only. */
function whole(text: string, flag: string, min: number, max: number): number {
  if (!/^[0-9]{1,8}$/.test(text) || Number(text) < min || Number(text) > max)
    throw new Error(`${flag}: expected a whole number from ${min} to ${max}, found "${text}"`);
  return Number(text);
}

/** As build.ts names it. */
function machine(): string {
  return process.arch === "x64" ? "x86_64" : "aarch64";
}

function path(file: string | undefined): string | undefined {
  return file === undefined ? undefined : resolve(file);
}

function checkout(folder: string, flag: string): string {
  const path = resolve(folder);
  if (!existsSync(join(path, "src/main.ts")))
    throw new Error(`${flag}: expected a checkout of Aralez, found no src/main.ts in "${path}"`);
  return path;
}
