/** The load: the generator that a scenario asks for, on its own core, and what it found. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { environment, pinned } from "../processes.ts";
import type { Scenario } from "../scenarios.ts";
import { host, prefix, socketsHost } from "../site.ts";
import type { ClientOptions } from "./client.ts";
import { luaScript } from "./lua.ts";
import { parseLoad, type LoadResult } from "./result.ts";

/** A generator stops at its end by itself; this long after it something hangs. */
const lateMs = 15_000;

export interface LoadOptions {
  readonly port: number;
  readonly scenario: Scenario;
  readonly seconds: number;
  readonly core: number;
  /** temp folder for scripts and logs */
  readonly folder: string;
  /** the benchmark is being stopped */
  readonly signal: AbortSignal;
}

/** @throws Error when the generator fails or does not end in time */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const command = (options.scenario.tool ?? "wrk") === "wrk" ? wrk(options) : ownClient(options);
  return parseLoad(await runLoad(command, options));
}

function wrk({ port, scenario, seconds, folder }: LoadOptions): string[] {
  const script = join(folder, "load.lua");
  writeFileSync(script, luaScript(scenario));
  const url = `http://127.0.0.1:${port}${prefix}${scenario.target}`;
  return ["wrk", "-t1", `-c${scenario.connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, url];
}

function ownClient({ port, scenario, seconds }: LoadOptions): string[] {
  const { tool, connections, messageBytes = 0 } = scenario;
  const place =
    tool === "websocket" ? { host: socketsHost, target: "/echo" } : { host, target: prefix + scenario.target };
  const options: ClientOptions = { port, seconds, connections, messageBytes, ...place };
  return [process.execPath, join(import.meta.dir, `${tool}.ts`), JSON.stringify(options)];
}

/** @returns the output of a load generator. @throws Error when it fails or does not end in time */
export async function runLoad(command: readonly string[], options: LoadOptions): Promise<string> {
  const { core, folder, seconds, signal } = options;
  const child = Bun.spawn([...pinned(core, "KILL"), ...command], {
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
  if (child.signalCode === "SIGKILL")
    throw new Error(`${command[0]} did not end within ${seconds + lateMs / 1000} s: this machine is too busy for it`);
  if (child.exitCode !== 0) {
    const ended = child.signalCode ?? `exit code ${child.exitCode}`;
    throw new Error(`${command[0]} failed (${ended}): ${(err || out).trim()}`);
  }
  return out;
}
