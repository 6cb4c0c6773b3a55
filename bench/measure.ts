/** Measures scenarios: for each, all contenders side by side, warmed up, then in turn (A B A B …). */
import { usual, type ContenderName } from "./contenders/index.ts";
import { Lab, type Running, type Trees } from "./lab.ts";
import { load, type LoadResult } from "./load.ts";
import { cpuSeconds, residentBytes } from "./processes.ts";
import { scenarios, type Scenario } from "./scenarios.ts";

export interface MeasureOptions extends Trees {
  readonly scenario: string;
  /** default: the usual ones, and those the scenario adds */
  readonly contenders: readonly ContenderName[] | undefined;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  readonly signal: AbortSignal;
  /** called before each step */
  progress(text: string): void;
}

/** One contender under one load, once. */
export interface Round extends LoadResult {
  /** CPU time of the proxy a request, user and system, in microseconds */
  readonly userUs: number;
  readonly systemUs: number;
  /** resident memory after the round */
  readonly residentBytes: number;
  /** connections that the origin accepted meanwhile */
  readonly upstreamConnections: number;
}

export interface ScenarioResult {
  readonly scenario: string;
  readonly rounds: Readonly<Partial<Record<ContenderName, readonly Round[]>>>;
}

/** @throws Error when a contender cannot run, does not do its work or dies */
export async function measureScenario(options: MeasureOptions): Promise<ScenarioResult> {
  const { scenario: name, signal, seconds, warmupSeconds, progress } = options;
  const scenario = scenarios[name]!;
  await using lab = new Lab(options);
  const close = () => void lab.close();
  signal.addEventListener("abort", close, { once: true });
  signal.throwIfAborted();
  try {
    await lab.startOrigin();
    const running: Running[] = [];
    // New processes for each scenario: the memory shown belongs to it alone.
    for (const contender of contendersOf(scenario, options.contenders)) running.push(await lab.start(contender));
    for (const contender of running) {
      progress(`${name}: ${contender.name}, warming up for ${warmupSeconds} s`);
      await measureRound(lab, contender, scenario, warmupSeconds, signal);
    }
    const rounds: Partial<Record<ContenderName, Round[]>> = {};
    for (let round = 1; round <= options.rounds; round++) {
      for (const contender of running) {
        progress(`${name}: ${contender.name}, round ${round} of ${options.rounds}`);
        (rounds[contender.name] ??= []).push(await measureRound(lab, contender, scenario, seconds, signal));
      }
    }
    return { scenario: name, rounds };
  } finally {
    signal.removeEventListener("abort", close);
  }
}

/** Who takes part in a scenario. */
export function contendersOf(
  scenario: Scenario,
  chosen: readonly ContenderName[] | undefined,
): readonly ContenderName[] {
  return chosen ?? [...usual, ...((scenario.also ?? []) as ContenderName[])];
}

async function measureRound(
  lab: Lab,
  contender: Running,
  scenario: Scenario,
  seconds: number,
  signal: AbortSignal,
): Promise<Round> {
  const connectionsBefore = await lab.originConnections();
  const before = cpuSeconds(contender.pid);
  const result = await load({
    port: contender.port,
    scenario,
    seconds,
    core: lab.cores.load,
    folder: lab.folder,
    signal,
  });
  const after = cpuSeconds(contender.pid);
  contender.mustRun();
  const perRequest = (cpu: number) => (cpu * 1e6) / result.requests;
  return {
    ...result,
    userUs: perRequest(after.user - before.user),
    systemUs: perRequest(after.system - before.system),
    residentBytes: residentBytes(contender.pid),
    upstreamConnections: (await lab.originConnections()) - connectionsBefore,
  };
}
