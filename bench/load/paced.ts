/** Latency at a fixed rate, by h2load in HTTP/1.1: what a client waits while the proxy has room. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { host, prefix } from "../site.ts";
import { runLoad, type LoadOptions } from "./load.ts";

/**
 * h2load's clock ticks every 10 ms: a client with more than 100 requests a second sends several at each tick, and waits
 * for itself. So the rate is made of clients below that, which begin spread over one tick.
 */
const ratePerClient = 100;
const tickMs = 10;
/** Clients connect meanwhile, and nothing is evenly spread yet. */
const settleSeconds = 1;

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

/** @param rate requests a second. @throws Error when h2load fails or got no answer */
export async function pacedLoad(rate: number, options: LoadOptions): Promise<PacedLoad> {
  const log = join(options.folder, "h2load.log");
  const body = join(options.folder, "h2load.body");
  const { headers = {}, bodyBytes = 0, target } = options.scenario;
  if (bodyBytes > 0) writeFileSync(body, "x".repeat(bodyBytes));
  const clients = Math.ceil(rate / ratePerClient);
  const seconds = options.seconds + settleSeconds;
  rmSync(log, { force: true }); // h2load appends
  await runLoad(
    [
      ...["h2load", "--h1", "-t1", `-c${clients}`, `-n${Math.round(rate * seconds)}`, `--rps=${rate / clients}`],
      ...[`-r${Math.ceil(clients / tickMs)}`, "--rate-period=1ms"],
      ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
      ...(bodyBytes > 0 ? ["-d", body] : []),
      ...[`--log-file=${log}`, `--connect-to=127.0.0.1:${options.port}`, `http://${host}${prefix}${target}`],
    ],
    // A proxy that does not keep up makes h2load take longer; far too long is an error.
    { ...options, seconds: seconds * 4 },
  );
  return parseH2loadLog(readFileSync(log, "latin1"), settleSeconds);
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
