/** Runs a proxy until a signal ends it. */
import { start, StartError, type Running, type StartOptions } from "../control/control.ts";
import { distinctFaultsMax } from "../lib/limits.ts";
import { commit, version } from "./version.ts";

/**
 * @param ready called once it listens
 * @returns the exit code: 0 stopped by a signal, 1 could not start
 */
export async function serve(options: StartOptions, ready?: (running: Running) => void): Promise<number> {
  surviveFaults();
  let running: Running;
  try {
    running = await start({ ...options, build: { version, commit } });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    console.error(error.message);
    return 1;
  }
  report = (text) => running.fault(text);
  const stopped = obeySignals(running);
  ready?.(running);
  await stopped;
  return 0;
}

/** @returns when the proxy has stopped because a signal said so */
function obeySignals(running: Running): Promise<void> {
  process.on("SIGHUP", () => void running.reload().catch(reportFault));
  process.on("SIGUSR1", () => running.reopenLogs());
  return new Promise((resolve, reject) => {
    let stopping = false;
    for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
      process.on(signal, (_name, number) => {
        // Whoever asks twice does not want to wait for open connections.
        if (stopping) process.exit(128 + (number ?? 0));
        stopping = true;
        running.stop().then(resolve, reject);
      });
    }
  });
}

const faults = new Set<string>();
/** Where faults go: the log, as soon as there is one. */
let report = (text: string) => console.error(`aralez: ${text}`);

/**
 * A fault that nobody caught belongs to one request or one timer; all other connections of this process are fine.
 * Ending them because of it would turn one bad request into an outage, so it is reported and the proxy goes on.
 */
function surviveFaults(): void {
  process.on("uncaughtException", reportFault);
  process.on("unhandledRejection", reportFault);
}

/** Once per distinct message: a fault that every request meets must not fill the disk. */
function reportFault(error: unknown): void {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  if (faults.has(message) || faults.size >= distinctFaultsMax) return;
  faults.add(message);
  const stack = error instanceof Error ? (error.stack ?? message) : message;
  report(`a fault in the proxy itself (it goes on; the same one is not shown again): ${stack}`);
}
