/** Runs a proxy until a signal ends it. */
import { StartError, type Running, type StartOptions } from "../control/control.ts";
import { reportFault, reportFaultsTo, surviveFaults } from "../process/faults.ts";
import { start } from "../process/start.ts";
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
  reportFaultsTo((text) => running.fault(text));
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
