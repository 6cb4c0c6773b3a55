/** Requests of the user's benchmark against nginx's: as a table, and as a chart with what the original claims. */
import { bars, frame, lengthOf, text, type Group } from "../chart.ts";
import type { ScenarioResult } from "../measure.ts";
import { grid, rowsOf, titleOf } from "../report.ts";
import { scenarios } from "../scenarios.ts";

/** Requests/s and their ratios, all scenarios side by side. */
export function rateSummary(results: readonly ScenarioResult[]): string {
  const names = [...new Set(results.flatMap(({ rounds }) => Object.keys(rounds)))];
  const cell = (name: string) => (result: ScenarioResult) => {
    const row = rowsOf(result).find(({ contender }) => contender === name);
    if (!row) return "-";
    const rate = row.requestsPerSecond.toFixed(0);
    return row.rateRatio === undefined ? rate : `${rate} (${row.rateRatio.toFixed(2)})`;
  };
  const columns = names.map((name) => [name, cell(name)] as const);
  const claim = (result: ScenarioResult) => scenarios[result.scenario]?.user?.claim?.toFixed(2) ?? "-";
  return [
    "Requests/s (times nginx's); the last column is what the original's README shows for itself",
    "",
    ...grid<ScenarioResult>([["scenario", titleOf], ...columns, ["claimed", claim]], results),
  ].join("\n");
}

/**
 * Bars are requests for the same CPU time: requests/s tell who had a core to himself, unless everybody had.
 * @param note what, when and where was measured, in one line
 */
export function rateChart(results: readonly ScenarioResult[], note: string): string {
  const groups = results
    .filter(({ rounds }) => rounds.nginx)
    .map((result): Group & { readonly claim: number | undefined } => ({
      title: titleOf(result),
      claim: scenarios[result.scenario]?.user?.claim,
      bars: rowsOf(result).map(({ contender, cpuRatio = 1, cpuUs, requestsPerSecond, errors }) => ({
        contender,
        ratio: 1 / cpuRatio,
        value:
          errors > 0
            ? "not valid"
            : `${(1 / cpuRatio).toFixed(2)} · ${cpuUs.toFixed(0)} µs · ${requestsPerSecond.toFixed(0)}/s`,
      })),
    }));
  return frame("Requests for the same CPU time, nginx = 1 (longer is better)", note, groups, (group, top, bottom) => {
    const { claim } = group as (typeof groups)[number];
    if (claim === undefined) return bars(group, top);
    const x = lengthOf(claim);
    const mark = `<line class="claim" x1="${x}" x2="${x}" y1="${top - 2}" y2="${bottom}"/>`;
    return [
      mark,
      ...bars(group, top),
      text(x + 4, bottom + 10, `claimed by the original, in requests/s: ${claim}`, 'class="note"'),
    ];
  });
}
