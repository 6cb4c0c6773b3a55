/** The arguments of the benchmark, read and checked. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { contenders, type ContenderName } from "./contenders/index.ts";
import { scenarios } from "./scenarios.ts";

export interface Arguments {
  readonly help: boolean;
  readonly showConfig: boolean;
  readonly scenarios: readonly string[];
  readonly contenders: readonly ContenderName[] | undefined;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  /** file for the results, or undefined */
  readonly json: string | undefined;
  readonly tree: string;
  readonly baseline: string | undefined;
}

export const usage = `Usage: bun run bench [options]

  --scenario NAME[,…]    only these (default: all)
  --contenders NAME[,…]  only these, in this order (default: aralez,nginx and what a scenario adds)
  --seconds N            length of a round (default: 5)
  --warmup N             seconds of load before the rounds (default: 3)
  --rounds N             rounds of each contender, in turn (default: 3)
  --json FILE            also write all rounds and medians there
  --tree DIR             the checkout to measure as "aralez" (default: this one)
  --baseline DIR         another checkout, as the contender "baseline"
  --show-config          print the generated configurations and exit
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
      json: { type: "string" },
      tree: { type: "string", default: join(import.meta.dir, "..") },
      baseline: { type: "string" },
      "show-config": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const chosen = names(values.contenders, "--contenders", contenders) as ContenderName[] | undefined;
  const baseline = values.baseline === undefined ? undefined : checkout(values.baseline, "--baseline");
  return {
    help: values.help,
    showConfig: values["show-config"],
    scenarios: names(values.scenario, "--scenario", scenarios) ?? Object.keys(scenarios),
    contenders: chosen ?? (baseline === undefined ? undefined : ["aralez", "baseline", "nginx"]),
    seconds: whole(values.seconds, "--seconds", 600),
    warmupSeconds: whole(values.warmup, "--warmup", 600),
    rounds: whole(values.rounds, "--rounds", 100),
    json: values.json === undefined ? undefined : resolve(values.json),
    tree: checkout(values.tree, "--tree"),
    baseline,
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
function whole(text: string, flag: string, max: number): number {
  if (!/^[0-9]{1,4}$/.test(text) || Number(text) < 1 || Number(text) > max)
    throw new Error(`${flag}: expected a whole number from 1 to ${max}, found "${text}"`);
  return Number(text);
}

function checkout(folder: string, flag: string): string {
  const path = resolve(folder);
  if (!existsSync(join(path, "src/main.ts")))
    throw new Error(`${flag}: expected a checkout of Aralez, found no src/main.ts in "${path}"`);
  return path;
}
