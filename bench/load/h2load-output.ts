/** What h2load says: its report, and its log of requests. */
import { group, suite } from "../certificate.ts";
import type { Scenario } from "../scenarios.ts";
import { files, grpcMessage, smallBody } from "../site.ts";

/** What h2load prints of a run. */
export interface H2loadReport {
  readonly seconds: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly dataBytes: number;
  /** "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 h2"; "" without TLS */
  readonly spoken: string;
}

/** One contender at a fixed rate, once. */
export interface PacedLoad {
  /** answered, with those while the clients connected */
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly errors: number;
}

/** @throws Error when a line is missing */
export function parseH2load(output: string): H2loadReport {
  const find = (pattern: RegExp) => {
    const found = pattern.exec(output);
    if (!found) throw new Error(`Cannot read what h2load says: expected ${pattern}, found "${output.trim()}"`);
    return found;
  };
  const [, amount, unit] = find(/^finished in ([0-9.]+)(us|ms|s|m|h),/m);
  const [, succeeded, failed, errored, timeout] = find(
    /^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$/m,
  ).map(Number);
  const [, dataBytes] = find(/^traffic: .* headers .*\((\d+)\) data$/m).map(Number);
  const said = ["TLS Protocol", "Cipher", "Server Temp Key", "Application protocol"].map(
    (name) => new RegExp(`^${name}: (\\S+)`, "m").exec(output)?.[1] ?? "",
  );
  return {
    seconds: Number(amount) * secondsOf[unit as keyof typeof secondsOf],
    succeeded: succeeded!,
    // What errored or timed out is among the failed ones.
    failed: Math.max(failed!, errored! + timeout!),
    dataBytes: dataBytes!,
    spoken: said.join(" ").trim(),
  };
}

const secondsOf = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** h2load looks at statuses only: an answer without its body, or an error of gRPC, shows in the bytes. */
export function faults(report: H2loadReport, scenario: Scenario): { readonly errors: number; readonly why?: string } {
  const { succeeded, failed, dataBytes, spoken } = report;
  const protocol = scenario.streams === undefined ? "http/1.1" : "h2";
  const wanted = `TLSv1.3 ${suite} ${group} ${protocol}`;
  if (scenario.tls && spoken !== wanted) return { errors: succeeded, why: `spoke "${spoken}", not "${wanted}"` };
  const whole = bodyBytesOf(scenario);
  const underWay = scenario.connections * (scenario.streams ?? 1);
  if (dataBytes < succeeded * whole || dataBytes > (succeeded + underWay) * whole)
    return { errors: Math.max(1, succeeded), why: `${dataBytes} bytes in ${succeeded} bodies of ${whole}` };
  return failed > 0 ? { errors: failed, why: `${failed} failed` } : { errors: 0 };
}

/** Of an answer. */
function bodyBytesOf({ grpc, target }: Scenario): number {
  if (grpc) return grpcMessage.length;
  return files[target.slice(1)] ?? smallBody.length;
}

/**
 * @param text lines of start in µs, status and duration in µs, in the order of their end
 * @param settleSeconds what began so soon after the first request does not count
 * @throws Error when nothing is left
 */
export function parseH2loadLog(text: string, settleSeconds: number): PacedLoad {
  const rows = text
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split("\t").map(Number) as [startUs: number, status: number, us: number]);
  const firstUs = rows.reduce((least, [startUs]) => Math.min(least, startUs), Infinity);
  const counted = rows.filter(([startUs]) => startUs >= firstUs + settleSeconds * 1e6);
  const good = counted.filter(([, status]) => status >= 200 && status < 400);
  if (good.length === 0) throw new Error(`Cannot measure: h2load got no answer at all (${rows.length} requests)`);
  const lastUs = counted.reduce((most, [startUs]) => Math.max(most, startUs), 0);
  const spanUs = lastUs - firstUs - settleSeconds * 1e6;
  const sorted = good.map(([, , us]) => us).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1]! / 1000;
  return {
    requests: rows.length,
    requestsPerSecond: spanUs > 0 ? (counted.length * 1e6) / spanUs : 0,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    p999Ms: at(0.999),
    errors: rows.length - rows.filter(([, status]) => status >= 200 && status < 400).length,
  };
}
