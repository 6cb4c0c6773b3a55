/** The load of the TLS scenarios: h2load, in HTTP/1.1 and HTTP/2, and what it says about what it did. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { group, suite } from "../certificate.ts";
import { grpcMessage, grpcPath, h2cHost, host, prefix } from "../site.ts";
import { faults, parseH2load, parseH2loadLog } from "./h2load-output.ts";
import type { LoadResult } from "./result.ts";
import { runLoad, type LoadOptions } from "./run-load.ts";

/** New connections: 500 a second without resumption, far below what any contender can do; h2load's clock ticks every 10 ms. */
const newPerTick = 5;
const tickMs = 10;
/** Requests that tell how many fit into a round, where h2load needs to be told. */
const trialRequests = 200;

/** @throws Error when h2load fails, got no answer or did not speak what it should */
export async function h2load(options: LoadOptions): Promise<LoadResult> {
  const { connections, connects } = options.scenario;
  if (connects === "full") {
    const count = newPerTick * (1000 / tickMs) * options.seconds;
    return run(options, [`-c${count}`, `-n${count}`, `-r${newPerTick}`, `--rate-period=${tickMs}ms`]);
  }
  if (connects === undefined) return run(options, [`-c${connections}`, `-D${options.seconds}`]);
  // It starts a new connection when the server has closed the last one, and offers its session. Only a count ends that.
  const again = (count: number) => run(options, [`-c${connections}`, `-n${count}`, "-H", "connection: close"]);
  const trial = await again(trialRequests);
  const rest = await again(Math.max(trialRequests, Math.round((trial.requests / trial.seconds) * options.seconds)));
  return { ...rest, requests: trial.requests + rest.requests, seconds: trial.seconds + rest.seconds };
}

async function run(options: LoadOptions, amount: readonly string[]): Promise<LoadResult> {
  const { folder, scenario } = options;
  const log = join(folder, "h2load.log");
  rmSync(log, { force: true }); // h2load appends
  const streams = scenario.streams === undefined ? [] : [`-m${scenario.streams}`];
  const output = await runLoad(
    ["h2load", "-t1", ...streams, ...amount, `--log-file=${log}`, ...h2loadRequest(options)],
    options,
  );
  const report = parseH2load(output);
  const { p50Ms, p99Ms, p999Ms } = parseH2loadLog(readFileSync(log, "latin1"), 0);
  const { errors, why } = faults(report, scenario);
  const { succeeded: requests, seconds } = report;
  return { requests, seconds, p50Ms, p99Ms, p999Ms, errors, ...(why !== undefined && { why }) };
}

/** Arguments that say what is asked, and how it is spoken: the same at any rate. */
export function h2loadRequest({ port, scenario, folder }: LoadOptions): string[] {
  const { headers = {}, grpc, tls, streams, upstream } = scenario;
  const body = grpc ? grpcMessage : scenario.bodyBytes ? Buffer.alloc(scenario.bodyBytes, "x") : undefined;
  const file = join(folder, "h2load.body");
  if (body) writeFileSync(file, body);
  const target = grpc ? grpcPath : prefix + scenario.target;
  const lines = grpc ? { ...headers, "content-type": "application/grpc", te: "trailers" } : headers;
  return [
    ...(streams === undefined ? ["--h1"] : []),
    ...(tls ? [`--tls13-ciphers=${suite}`, `--groups=${group}`] : []),
    ...Object.entries(lines).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ...(body ? ["-d", file] : []),
    `--connect-to=127.0.0.1:${port}`,
    `${tls ? "https" : "http"}://${upstream === "h2c" ? h2cHost : host}${target}`,
  ];
}
