/** The load: wrk on its core, its result read through its own Lua report instead of its printed table. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { environment } from "./processes.ts";
import type { Scenario } from "./scenarios.ts";
import { host, prefix } from "./site.ts";

/** wrk itself stops at its end; this long after it something hangs. */
const lateMs = 15_000;

export interface LoadOptions {
  readonly port: number;
  readonly scenario: Scenario;
  readonly seconds: number;
  readonly core: number;
  /** temp folder for the script */
  readonly folder: string;
  /** the benchmark is being stopped */
  readonly signal: AbortSignal;
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** over all requests, as wrk sees them from its own loop: see README, "What is not measured" */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** answers of 400 and above, and failures to connect, read, write or be in time */
  readonly errors: number;
}

/** @throws Error when wrk fails or does not end in time */
export async function load({ port, scenario, seconds, core, folder, signal }: LoadOptions): Promise<LoadResult> {
  const script = join(folder, "load.lua");
  writeFileSync(script, luaScript(scenario));
  const connections = String(scenario.connections);
  const url = `http://127.0.0.1:${port}${prefix}${scenario.target}`;
  const wrk = ["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, url];
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", "taskset", "-c", String(core), ...wrk], {
    cwd: folder,
    env: environment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: seconds * 1000 + lateMs,
    killSignal: "SIGKILL",
    signal,
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (signal.aborted) throw new Error("stopped");
  if (child.exitCode !== 0) {
    throw new Error(`wrk failed (${child.signalCode ?? `exit code ${child.exitCode}`}): ${(err || out).trim()}`);
  }
  return parseLoad(out);
}

/** The request, and a `done` that prints one line of JSON; `init` and `request` are left to wrk, whose own are faster. */
function luaScript({ method = "GET", headers = {}, bodyBytes = 0 }: Scenario): string {
  const lines = Object.entries({ Host: host, ...headers }).map(
    ([name, value]) => `wrk.headers[${lua(name)}] = ${lua(value)}`,
  );
  return `wrk.method = ${lua(method)}
${lines.join("\n")}
${bodyBytes > 0 ? `wrk.body = string.rep("x", ${bodyBytes})` : ""}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"us":%d,"p50":%d,"p99":%d,"errors":%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`;
}

/** JSON's escapes of printable ASCII are Lua's. */
function lua(text: string): string {
  return JSON.stringify(text);
}

/** @throws Error when the line is missing, or no request succeeded */
export function parseLoad(output: string): LoadResult {
  const line = output.split("\n").findLast((text) => text.startsWith("{"));
  if (line === undefined)
    throw new Error(`Cannot read wrk's result: expected a line of JSON, found "${output.trim()}"`);
  const { requests, us, p50, p99, errors } = JSON.parse(line) as Record<
    "requests" | "us" | "p50" | "p99" | "errors",
    number
  >;
  if (requests === 0) throw new Error(`Cannot measure: wrk got no answer at all (${errors} errors)`);
  return { requests, seconds: us / 1e6, p50Ms: p50 / 1000, p99Ms: p99 / 1000, errors };
}
