/** The report: medians of the rounds, as a table a person reads and as plain data. */
import { contenders, reference, type ContenderName } from "./contenders/index.ts";
import type { Round, ScenarioResult } from "./measure.ts";
import { scenarios } from "./scenarios.ts";

/** Medians over the rounds, each figure by itself. */
export interface Row {
  readonly contender: ContenderName;
  readonly cpuUs: number;
  readonly userUs: number;
  readonly systemUs: number;
  /** lowest and highest round */
  readonly cpuUsRange: readonly [low: number, high: number];
  /** how much of its core the proxy had, 0–1: below about 0.95 it waited for neighbours, and so did every latency */
  readonly coreShare: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly residentBytes: number;
  readonly upstreamConnections: number;
  /** CPU time against the reference; undefined when that did not take part */
  readonly cpuRatio: number | undefined;
  /** of all rounds together */
  readonly errors: number;
}

export function rowsOf({ rounds }: ScenarioResult): Row[] {
  const entries = Object.entries(rounds) as [ContenderName, readonly Round[]][];
  const cpuOf = (list: readonly Round[]) => list.map(({ userUs, systemUs }) => userUs + systemUs);
  const base = rounds[reference] && median(cpuOf(rounds[reference]));
  return entries.map(([contender, list]) => {
    const of = (figure: (round: Round) => number) => median(list.map(figure));
    const cpu = cpuOf(list);
    return {
      contender,
      cpuUs: median(cpu),
      userUs: of((round) => round.userUs),
      systemUs: of((round) => round.systemUs),
      cpuUsRange: [Math.min(...cpu), Math.max(...cpu)] as const,
      coreShare: of((round) => ((round.userUs + round.systemUs) * round.requests) / 1e6 / round.seconds),
      requestsPerSecond: of((round) => round.requests / round.seconds),
      p50Ms: of((round) => round.p50Ms),
      p99Ms: of((round) => round.p99Ms),
      residentBytes: of((round) => round.residentBytes),
      upstreamConnections: of((round) => round.upstreamConnections),
      cpuRatio: base === undefined ? undefined : median(cpu) / base,
      errors: list.reduce((sum, { errors }) => sum + errors, 0),
    };
  });
}

/** The middle value; of an even number of values the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const columns: readonly (readonly [title: string, cell: (row: Row) => string])[] = [
  ["contender", (row) => row.contender],
  ["CPU µs/req", (row) => row.cpuUs.toFixed(1)],
  ["(lowest–highest)", (row) => row.cpuUsRange.map((cpu) => cpu.toFixed(1)).join("–")],
  ["user+system", (row) => `${row.userUs.toFixed(1)}+${row.systemUs.toFixed(1)}`],
  [`CPU/${reference}`, (row) => row.cpuRatio?.toFixed(2) ?? "-"],
  ["core %", (row) => (row.coreShare * 100).toFixed(0)],
  ["requests/s", (row) => row.requestsPerSecond.toFixed(0)],
  ["p50 ms", (row) => row.p50Ms.toFixed(2)],
  ["p99 ms", (row) => row.p99Ms.toFixed(2)],
  ["RSS MiB", (row) => (row.residentBytes / 1024 ** 2).toFixed(0)],
  ["new upstream conns", (row) => row.upstreamConnections.toFixed(0)],
  ["errors", (row) => String(row.errors)],
];

/** A Markdown table under the scenario's name. */
export function table(result: ScenarioResult): string {
  const rows = rowsOf(result).map((row) => columns.map(([, cell]) => cell(row)));
  const widths = columns.map(([title], i) => Math.max(title.length, ...rows.map((cells) => cells[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  const title = `${result.scenario}: ${scenarios[result.scenario]!.doc}`;
  return [title, "", line(columns.map(([name]) => name)), rule, ...rows.map(line)].join("\n");
}

/** Names with their descriptions, for `--help`. */
export function catalogue(): string {
  const list = (of: Readonly<Record<string, { doc: string }>>) =>
    Object.entries(of)
      .map(([name, { doc }]) => `  ${name.padEnd(12)} ${doc}\n`)
      .join("");
  return `Scenarios:\n${list(scenarios)}\nContenders:\n${list(contenders)}`;
}
