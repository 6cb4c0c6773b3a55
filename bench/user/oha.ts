/** What oha says about a run, read from its JSON. */
import { smallBody } from "../site.ts";
import type { LoadResult } from "../load/result.ts";

/** What we read of `--output-format json`; times in seconds. */
interface OhaReport {
  readonly summary: { readonly total: number; readonly totalData: number };
  /** "p50", "p99", "p99.9" */
  readonly latencyPercentiles: Readonly<Record<string, number | null>>;
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
  readonly errorDistribution: Readonly<Record<string, number>>;
}

/**
 * Every answer must be a 200 with the whole body: oha counts their bytes.
 * @throws Error when it is no report of oha's, or there was no answer at all
 */
export function parseOha(text: string): LoadResult {
  const { summary, latencyPercentiles, statusCodeDistribution, errorDistribution } = read(text);
  const { "200": requests = 0, ...others } = statusCodeDistribution;
  const failures = [...Object.entries(others), ...Object.entries(errorDistribution)];
  const errors = failures.reduce((sum, [, count]) => sum + count, 0);
  const why = failures.map(([what, count]) => `${count} × ${what}`).join(", ");
  if (requests === 0)
    throw new Error(`Cannot measure: oha got no answer with status 200 (${why || "no error either"})`);
  const ms = (name: string) => (latencyPercentiles[name] ?? 0) * 1000;
  const figures = {
    requests,
    seconds: summary.total,
    p50Ms: ms("p50"),
    p99Ms: ms("p99"),
    p999Ms: ms("p99.9"),
  };
  if (errors > 0) return { ...figures, errors, why };
  const bytes = requests * smallBody.length;
  if (summary.totalData === bytes) return { ...figures, errors: 0 };
  return { ...figures, errors: requests, why: `${summary.totalData} bytes in ${requests} bodies, expected ${bytes}` };
}

function read(text: string): OhaReport {
  try {
    const report = JSON.parse(text) as Partial<OhaReport>;
    if (report.summary && report.latencyPercentiles && report.statusCodeDistribution && report.errorDistribution)
      return report as OhaReport;
  } catch {
    // Said below.
  }
  throw new Error(`Cannot read what oha says: expected its JSON, found "${text.trim().slice(0, 500)}"`);
}
