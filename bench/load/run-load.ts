/** Runs a load generator on cores of its own, whichever it is. */
import { environment, pinned } from "../processes.ts";
import type { Scenario } from "../scenarios.ts";

/** A generator stops at its end by itself; this long after it something hangs. */
const lateMs = 15_000;

export interface LoadOptions {
  readonly port: number;
  readonly scenario: Scenario;
  readonly seconds: number;
  /** as taskset lists them */
  readonly cores: string;
  /** temp folder for scripts and logs */
  readonly folder: string;
  /** the benchmark is being stopped */
  readonly signal: AbortSignal;
}

/** @returns the output of a load generator. @throws Error when it fails or does not end in time */
export async function runLoad(command: readonly string[], options: LoadOptions): Promise<string> {
  const { cores, folder, seconds, signal } = options;
  const child = Bun.spawn([...pinned(cores, "KILL"), ...command], {
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
