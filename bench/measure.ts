/** Measures scenarios: for each, all contenders side by side, warmed up, then in turn (A B A B …). */
import { loadavg } from "node:os";
import { reference } from "./contenders/index.ts";
import { Lab, type Running, type Trees } from "./lab.ts";
import { load } from "./load/load.ts";
import type { PacedLoad } from "./load/h2load-output.ts";
import { pacedLoad } from "./load/paced.ts";
import type { LoadResult } from "./load/result.ts";
import { able, type Choice } from "./participants.ts";
import { cpuSeconds, residentBytes } from "./processes.ts";
import { median } from "./report.ts";
import { scenarios, type Scenario } from "./scenarios.ts";

export interface MeasureOptions extends Trees, Choice {
  readonly scenario: string;
  /** of each contender; 1 where the scenario is not a user's */
  readonly workers: number;
  /** whether oha makes the load of a user's benchmark */
  readonly oha: boolean;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  /** per cent of the reference's requests/s at which latencies are measured too; 0 = not */
  readonly pace: number;
  readonly signal: AbortSignal;
  /** called before each step */
  progress(text: string): void;
}

/** CPU time of the proxy a request, user and system, in microseconds. */
interface Cost {
  readonly userUs: number;
  readonly systemUs: number;
}

/** One contender under one load, once. */
export interface Round extends LoadResult, Cost {
  /** resident memory after the round */
  readonly residentBytes: number;
  /** connections that the origin accepted meanwhile */
  readonly upstreamConnections: number;
}

/** By contender. */
type Rounds<T> = Readonly<Record<string, readonly T[]>>;

export interface PacedResult {
  /** requests a second, for all the same */
  readonly rate: number;
  readonly rounds: Rounds<PacedLoad & Cost>;
}

export interface ScenarioResult {
  readonly scenario: string;
  /** of each contender; default 1 */
  readonly workers?: number;
  /** load average of the last minute before the first round: what neighbours do */
  readonly load?: number;
  /** contender that ratios are to, whether it took part or not */
  readonly reference: string;
  readonly rounds: Rounds<Round>;
  readonly paced?: PacedResult;
  /** why there is no `paced` although there should be */
  readonly pacedError?: string;
}

/** @throws Error when a contender cannot run, does not do its work or dies */
export async function measureScenario(options: MeasureOptions): Promise<ScenarioResult> {
  const { signal } = options;
  await using lab = new Lab(options);
  const close = () => void lab.close();
  signal.addEventListener("abort", close, { once: true });
  signal.throwIfAborted();
  try {
    return await new Course(lab, options).run();
  } finally {
    signal.removeEventListener("abort", close);
  }
}

/** One scenario from its origin to its last round. */
class Course {
  readonly #scenario: Scenario;

  constructor(
    readonly lab: Lab,
    readonly options: MeasureOptions,
  ) {
    this.#scenario = scenarios[options.scenario]!;
  }

  async run(): Promise<ScenarioResult> {
    const { lab, options } = this;
    const { scenario, seconds, warmupSeconds, pace, workers } = options;
    const [load = 0] = loadavg();
    await lab.startOrigin(this.#scenario);
    const running: Running[] = [];
    // New processes for each scenario: the memory shown belongs to it alone.
    for (const name of able(this.#scenario, options)) running.push(await lab.start(name));
    if (running.length === 0) throw new Error("none of the contenders takes part in it");
    for (const contender of running) {
      options.progress(`${scenario}: ${contender.name}, warming up for ${warmupSeconds} s`);
      await this.#round(contender, warmupSeconds);
    }
    const rounds = await this.#inTurn(running, (contender) => this.#round(contender, seconds));
    const more = this.#scenario.user ? { workers } : {};
    const result = { scenario, ...more, load, reference: this.#scenario.reference ?? reference, rounds };
    if (!this.#scenario.paced || pace === 0) return result;
    try {
      return { ...result, paced: await this.#pace(result, running) };
    } catch (error) {
      if (options.signal.aborted) throw error;
      return { ...result, pacedError: (error as Error).message };
    }
  }

  /** Who cannot keep up with the rate is left out: it would be at saturation once more. */
  async #pace({ rounds, reference }: ScenarioResult, running: readonly Running[]): Promise<PacedResult> {
    const most = (name: string) => median(rounds[name]!.map((round) => round.requests / round.seconds));
    const rate = Math.round((most(rounds[reference] ? reference : running[0]!.name) * this.options.pace) / 100);
    const able = running.filter(({ name }) => most(name) > rate);
    return { rate, rounds: await this.#inTurn(able, (contender) => this.#pacedRound(contender, rate)) };
  }

  async #inTurn<T>(running: readonly Running[], measure: (contender: Running) => Promise<T>) {
    const rounds: Record<string, T[]> = {};
    for (let round = 1; round <= this.options.rounds; round++) {
      for (const contender of running) {
        this.options.progress(`${this.options.scenario}: ${contender.name}, round ${round} of ${this.options.rounds}`);
        (rounds[contender.name] ??= []).push(await measure(contender));
      }
    }
    return rounds;
  }

  async #round(contender: Running, seconds: number): Promise<Round> {
    const { lab } = this;
    const connectionsBefore = await lab.originConnections();
    const begin = cpuSeconds(contender.pid);
    const result = await load(this.#load(contender, seconds));
    return {
      ...result,
      ...costSince(begin, contender, result.requests),
      residentBytes: residentBytes(contender.pid),
      upstreamConnections: (await lab.originConnections()) - connectionsBefore,
    };
  }

  async #pacedRound(contender: Running, rate: number): Promise<PacedLoad & Cost> {
    const begin = cpuSeconds(contender.pid);
    const result = await pacedLoad(rate, this.#load(contender, this.options.seconds));
    return { ...result, ...costSince(begin, contender, result.requests) };
  }

  #load(contender: Running, seconds: number) {
    const { lab, options } = this;
    const { folder, cores } = lab;
    const { headers = {} } = this.#scenario;
    return {
      port: contender.port,
      tlsPort: contender.tlsPort,
      oha: options.oha,
      scenario: { ...this.#scenario, headers: joinedLines(headers, contender.clientLines) },
      seconds,
      cores: cores.load,
      folder,
      signal: options.signal,
    };
  }
}

/** Both; cookies in one line. */
export function joinedLines(
  lines: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const { Cookie: cookie } = lines;
  return { ...lines, ...more, ...(cookie && more.Cookie && { Cookie: `${cookie}; ${more.Cookie}` }) };
}

/** @throws Error when the contender has died meanwhile */
function costSince(begin: { user: number; system: number }, contender: Running, requests: number): Cost {
  const end = cpuSeconds(contender.pid);
  contender.mustRun();
  const perRequest = (cpu: number) => (cpu * 1e6) / requests;
  return { userUs: perRequest(end.user - begin.user), systemUs: perRequest(end.system - begin.system) };
}
