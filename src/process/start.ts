/** Starts the proxy with as many workers as the settings ask for; one serves by itself. */
import { availableParallelism } from "node:os";
import type { Settings } from "../config/settings.ts";
import { start as startControl, type Running, type StartOptions } from "../control/control.ts";
import { WorkerFleet } from "./worker-fleet.ts";

/** @throws StartError */
export function start(options: StartOptions): Promise<Running> {
  const workers = workersOf(options.settings);
  if (workers === 1) return startControl(options);
  return startControl({ ...options, openFleet: (given) => new WorkerFleet(given, workers) });
}

/** `auto` is one for each core that this process may use. */
export function workersOf({ threads = 1 }: Settings): number {
  return threads === "auto" ? availableParallelism() : threads;
}
