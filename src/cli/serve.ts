/** Runs a proxy until a signal ends it. */
import { constants } from "node:os";
import { StartError, type Running, type StartOptions } from "../control/control.ts";
import { upgradeQuitDeafMs } from "../lib/limits.ts";
import { reportFault, reportFaultsTo, surviveFaults } from "../process/faults.ts";
import { Service, statusOf } from "../process/service.ts";
import { start } from "../process/start.ts";
import { commit, version } from "./version.ts";

/**
 * @param ready called once it listens
 * @returns the exit code: 0 stopped by a signal or succeeded, 1 could not start
 */
export async function serve(options: ServeOptions, ready?: (running: Running) => void): Promise<number> {
  surviveFaults();
  // Whoever cannot know yet that we have begun does not mean to kill us.
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {});
  const service = new Service(options.settings, options.mainFile, options.env);
  let running: Running;
  try {
    await service.begin(options.upgrade ?? false, version);
    running = await start({ ...options, predecessor: service.predecessor, build: { version, commit } });
  } catch (error) {
    service.failed((error as Error).message);
    if (!(error instanceof StartError)) throw error;
    console.error(error.message);
    return 1;
  }
  reportFaultsTo((text) => running.fault(text));
  const stopped = obeySignals(running, service);
  ready?.(running);
  await service.ready(running);
  await Promise.race([stopped, service.succession?.ended ?? stopped]);
  service.ended();
  return 0;
}

export interface ServeOptions extends StartOptions {
  /** a process that runs with the same configuration is taken over from */
  readonly upgrade?: boolean;
}

/** @returns when the proxy has stopped because a signal said so */
function obeySignals(running: Running, service: Service): Promise<void> {
  const sinceMs = performance.now();
  process.on("SIGHUP", () => void reload(running, service).catch(reportFault));
  process.on("SIGUSR1", () => running.reopenLogs());
  process.on("SIGUSR2", () => {
    if (service.succession) service.succession.upgrade().catch(() => {});
    else
      running.log("warn", "process", "SIGUSR2: there is no configuration file that a successor could be started with");
  });
  return new Promise((resolve, reject) => {
    let stopping = false;
    const stop = (signal: NodeJS.Signals) => {
      // Whoever asks twice does not want to wait for open connections.
      if (stopping) process.exit(128 + constants.signals[signal]);
      stopping = true;
      service.succession?.close();
      service.notifier.stopping();
      running.stop().then(resolve, reject);
    };
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, stop);
    process.on("SIGQUIT", (signal) => {
      const { predecessor, succession } = service;
      const isLate = predecessor && !predecessor.quitting && performance.now() - sinceMs < upgradeQuitDeafMs;
      if (isLate)
        running.log("info", "process", `SIGQUIT was meant for process ${predecessor.pid}: it has gone already`);
      else if (succession && !stopping) succession.quit().catch(reject);
      else stop(signal);
    });
  });
}

async function reload(running: Running, service: Service): Promise<void> {
  service.notifier.reloading();
  try {
    await running.reload();
  } finally {
    service.notifier.ready(statusOf(running));
  }
}
