/** The daemon: the same program once more, in a session of its own; whoever called waits until it serves. */
import { closeSync, openSync } from "node:fs";
import { daemonReportBytesMax } from "../lib/limits.ts";
import { libc } from "../lib/libc.ts";
import { programOnDisk } from "./program.ts";

/** In the environment of who is not to start a daemon: "1" = it is one, "0" = it succeeds a process in the foreground. */
const mark = "ARALEZ_DAEMON";

type Environment = Record<string, string | undefined>;

export interface DaemonResult {
  /** undefined = it serves */
  readonly failure?: string;
  /** for the caller to end with */
  readonly code: number;
  readonly pid: number;
}

/**
 * Starts it and waits until it serves or has ended.
 * @param args those of this process
 * @param waitMs then it is ended
 */
export async function startDaemon(args: readonly string[], waitMs: number): Promise<DaemonResult> {
  const told = Promise.withResolvers<"ready">();
  const child = Bun.spawn([...programOnDisk(), ...args], {
    // A session of its own: neither a terminal nor its signals.
    detached: true,
    env: { ...process.env, [mark]: "1" },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    ipc: (message) => message === "ready" && told.resolve("ready"),
  });
  let report = "";
  const reported = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) {
      if (report.length < daemonReportBytesMax) report += decoder.decode(bytes, { stream: true });
    }
  })();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => (timer = setTimeout(resolve, waitMs, "late")));
  const outcome = await Promise.race([told.promise, child.exited, late]);
  clearTimeout(timer);
  const { pid } = child;
  if (outcome === "ready") {
    child.disconnect();
    child.unref();
    return { code: 0, pid };
  }
  if (outcome === "late") {
    child.kill("SIGKILL");
    await child.exited;
    return { code: 1, pid, failure: `the daemon was not ready after ${waitMs / 1000} s and was ended` };
  }
  await reported;
  const failure = report.trim() || `the daemon ended with code ${outcome} and said nothing`;
  return { code: outcome > 0 ? outcome : 1, pid, failure };
}

/** Whether this process has a caller that waits for it, or has no need of one: it is not to start another one. */
export function isInPlace(env: Environment): boolean {
  return env[mark] !== undefined;
}

export function isDaemon(env: Environment): boolean {
  return env[mark] === "1";
}

/** The environment of a successor, which is in the background if its predecessor is. */
export function becomesDaemon(env: Environment, isOne: boolean): Environment {
  return { ...env, [mark]: isOne ? "1" : "0" };
}

/** In the daemon: tells the caller, and lets go of everything that is the caller's. */
export function daemonReady(env: Environment): void {
  const isOne = isDaemon(env);
  delete env[mark];
  if (!isOne) return;
  process.send?.("ready");
  process.disconnect?.();
  // The caller read our errors until now; without it, writing them would fail.
  const nowhere = openSync("/dev/null", "w");
  libc()?.dup2(nowhere, 2);
  closeSync(nowhere);
}
