/** The report: medians of the rounds, as a table a person reads and as plain data. */
import type { Round, ScenarioResult } from "./measure.ts";
import { everyContender } from "./participants.ts";
import { scenarios } from "./scenarios.ts";

/** Medians over the rounds, each figure by itself. */
export interface Row {
  readonly contender: string;
  readonly cpuUs: number;
  readonly userUs: number;
  readonly systemUs: number;
  /** lowest and highest round */
  readonly cpuUsRange: readonly [low: number, high: number];
  /** how much of its cores the proxy had, 0–1: below about 0.95 it waited for neighbours, and so did every latency */
  readonly coreShare: number;
  /** CPU time of the proxy in the round where it had least */
  readonly cpuSecondsLeast: number;
  readonly requestsPerSecond: number;
  /** requests/s against the reference; undefined when that did not take part */
  readonly rateRatio: number | undefined;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** WebSocket: the longest of all rounds */
  readonly stallMs: number | undefined;
  readonly residentBytes: number;
  readonly upstreamConnections: number;
  /** CPU time against the reference; undefined when that did not take part */
  readonly cpuRatio: number | undefined;
  /** of all rounds together */
  readonly errors: number;
  /** of the first round with errors */
  readonly why: string | undefined;
}

/** Medians at the fixed rate. */
export interface PacedRow {
  readonly contender: string;
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly p99Range: readonly [low: number, high: number];
  /** p99 against the reference's */
  readonly p99Ratio: number | undefined;
  readonly errors: number;
}

const cpuOf = ({ userUs, systemUs }: { readonly userUs: number; readonly systemUs: number }) => userUs + systemUs;

export function rowsOf({ rounds, reference, workers = 1 }: ScenarioResult): Row[] {
  const referred = rounds[reference];
  const base = referred && median(referred.map(cpuOf));
  const rateOf = (list: readonly Round[]) => median(list.map((round) => round.requests / round.seconds));
  return Object.entries(rounds).map(([contender, list]) => {
    const of = (figure: (round: Round) => number) => median(list.map(figure));
    const cpu = list.map(cpuOf);
    return {
      contender,
      cpuUs: median(cpu),
      userUs: of((round) => round.userUs),
      systemUs: of((round) => round.systemUs),
      cpuUsRange: range(cpu),
      coreShare: of((round) => (cpuOf(round) * round.requests) / 1e6 / round.seconds / workers),
      cpuSecondsLeast: Math.min(...list.map((round) => (cpuOf(round) * round.requests) / 1e6)),
      requestsPerSecond: rateOf(list),
      rateRatio: referred && rateOf(list) / rateOf(referred),
      p50Ms: of((round) => round.p50Ms),
      p99Ms: of((round) => round.p99Ms),
      p999Ms: of((round) => round.p999Ms),
      stallMs: list[0]!.stallMs === undefined ? undefined : Math.max(...list.map(({ stallMs = 0 }) => stallMs)),
      residentBytes: of((round) => round.residentBytes),
      upstreamConnections: of((round) => round.upstreamConnections),
      cpuRatio: base === undefined ? undefined : median(cpu) / base,
      errors: sum(list),
      why: list.find(({ why }) => why !== undefined)?.why,
    };
  });
}

export function pacedRowsOf({ paced, reference }: ScenarioResult): PacedRow[] {
  if (!paced) return [];
  const { rounds } = paced;
  const base = rounds[reference]?.map(({ p99Ms }) => p99Ms);
  return Object.entries(rounds).map(([contender, list]) => {
    const p99 = list.map(({ p99Ms }) => p99Ms);
    return {
      contender,
      requestsPerSecond: median(list.map((round) => round.requestsPerSecond)),
      cpuUs: median(list.map(cpuOf)),
      p50Ms: median(list.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(p99),
      p999Ms: median(list.map(({ p999Ms }) => p999Ms)),
      p99Range: range(p99),
      p99Ratio: base && median(p99) / median(base),
      errors: sum(list),
    };
  });
}

/** The middle value; of an even number of values the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function range(values: readonly number[]): readonly [low: number, high: number] {
  return [Math.min(...values), Math.max(...values)];
}

function sum(list: readonly { readonly errors: number }[]): number {
  return list.reduce((total, { errors }) => total + errors, 0);
}

type Column<T> = readonly [title: string, cell: (row: T) => string];

const between = (values: readonly number[], digits: number) => values.map((value) => value.toFixed(digits)).join("–");

function columns(reference: string, user: boolean): Column<Row>[] {
  return [
    ["contender", (row) => row.contender],
    ["CPU µs/req", (row) => row.cpuUs.toFixed(1)],
    ["(lowest–highest)", (row) => between(row.cpuUsRange, 1)],
    ["user+system", (row) => `${row.userUs.toFixed(1)}+${row.systemUs.toFixed(1)}`],
    [`CPU/${reference}`, (row) => row.cpuRatio?.toFixed(2) ?? "-"],
    ["core %", (row) => (row.coreShare * 100).toFixed(0)],
    ["requests/s", (row) => row.requestsPerSecond.toFixed(0)],
    [`req/s/${reference}`, (row) => (user && row.rateRatio?.toFixed(2)) || "-"],
    ["p50 ms", (row) => row.p50Ms.toFixed(2)],
    ["p99 ms", (row) => row.p99Ms.toFixed(2)],
    ["p99.9 ms", (row) => row.p999Ms.toFixed(2)],
    ["stall ms", (row) => row.stallMs?.toFixed(0) ?? "-"],
    ["RSS MiB", (row) => (row.residentBytes / 1024 ** 2).toFixed(0)],
    ["new upstream conns", (row) => row.upstreamConnections.toFixed(0)],
    ["errors", (row) => String(row.errors)],
  ];
}

function pacedColumns(reference: string): Column<PacedRow>[] {
  return [
    ["contender", (row) => row.contender],
    ["requests/s", (row) => row.requestsPerSecond.toFixed(0)],
    ["CPU µs/req", (row) => row.cpuUs.toFixed(1)],
    ["p50 ms", (row) => row.p50Ms.toFixed(2)],
    ["p99 ms", (row) => row.p99Ms.toFixed(2)],
    ["(lowest–highest)", (row) => between(row.p99Range, 2)],
    [`p99/${reference}`, (row) => row.p99Ratio?.toFixed(2) ?? "-"],
    ["p99.9 ms", (row) => row.p999Ms.toFixed(2)],
    ["errors", (row) => String(row.errors)],
  ];
}

/** Markdown under the scenario's name: the table, and one more for the fixed rate. */
export function table(result: ScenarioResult): string {
  const { scenario, paced, reference } = result;
  const { doc = "", user } = scenarios[scenario] ?? {};
  const rows = rowsOf(result);
  const busy = result.load === undefined ? "" : ` (load ${result.load.toFixed(1)})`;
  const main = [`${titleOf(result)}: ${doc}${busy}`, "", ...grid(columns(reference, user !== undefined), rows)];
  if (user?.claim !== undefined) main.push("", claimLine(user.claim, rows));
  if (!paced) return main.join("\n");
  const title = `${scenario}, at a fixed rate of ${paced.rate} requests/s`;
  return [...main, "", title, "", ...grid(pacedColumns(reference), pacedRowsOf(result))].join("\n");
}

export function titleOf({ scenario, workers }: ScenarioResult): string {
  return workers === undefined ? scenario : `${scenario}, ${workers} worker${workers === 1 ? "" : "s"} each`;
}

function claimLine(claim: number, rows: readonly Row[]): string {
  const here = rows
    .filter(({ contender }) => /^(aralez|original)/.test(contender))
    .map(({ contender, rateRatio, cpuRatio }) => {
      if (rateRatio === undefined || cpuRatio === undefined) return `${contender} -`;
      return `${contender} ${rateRatio.toFixed(2)} (${(1 / cpuRatio).toFixed(2)})`;
    });
  const what = `Times nginx's requests/s (in brackets: for each second of its own CPU time)`;
  return `${what}: the original's README shows ${claim}; here ${here.join(", ")}`;
}

/** Without the columns that nobody has a value in. */
export function grid<T>(all: readonly Column<T>[], rows: readonly T[]): string[] {
  const used = all.filter(([, cell]) => rows.some((row) => cell(row) !== "-"));
  const cells = rows.map((row) => used.map(([, cell]) => cell(row)));
  const widths = used.map(([title], i) => Math.max(title.length, ...cells.map((line) => line[i]!.length)));
  const line = (texts: readonly string[]) =>
    `| ${texts.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  return [line(used.map(([name]) => name)), rule, ...cells.map(line)];
}

/** CPU ratios of all scenarios side by side. */
export function summary(results: readonly ScenarioResult[]): string {
  const names = [...new Set(results.flatMap(({ rounds }) => Object.keys(rounds)))];
  const cell = (name: string) => (result: ScenarioResult) => {
    const row = rowsOf(result).find(({ contender }) => contender === name);
    if (!row) return "-";
    return row.cpuRatio === undefined ? row.cpuUs.toFixed(1) : `${row.cpuUs.toFixed(1)} (${row.cpuRatio.toFixed(2)})`;
  };
  const named = names.map((name): Column<ScenarioResult> => [name, cell(name)]);
  return ["CPU µs/req (ratio)", "", ...grid([["scenario", titleOf], ...named], results)].join("\n");
}

/** Names with their descriptions, for `--help`. */
export function catalogue(): string {
  const list = (of: Readonly<Record<string, { doc: string }>>) =>
    Object.entries(of)
      .map(([name, { doc }]) => `  ${name.padEnd(15)} ${doc}\n`)
      .join("");
  return `Scenarios:\n${list(scenarios)}\nContenders:\n${list(everyContender)}`;
}
