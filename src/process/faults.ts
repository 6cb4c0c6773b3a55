/** Faults of the proxy itself that nobody caught: told once each, and survived. */
import { distinctFaultsMax } from "../lib/limits.ts";

const faults = new Set<string>();
/** Where faults go: the log, as soon as there is one. */
let report = (text: string): void => void process.stderr.write(`aralez: ${text}\n`);

/**
 * A fault that nobody caught belongs to one request or one timer; all other connections of this process are fine.
 * Ending them because of it would turn one bad request into an outage, so it is reported and the proxy goes on.
 */
export function surviveFaults(): void {
  process.on("uncaughtException", reportFault);
  process.on("unhandledRejection", reportFault);
}

export function reportFaultsTo(log: (text: string) => void): void {
  report = log;
}

/** Once per distinct message: a fault that every request meets must not fill the disk. */
export function reportFault(error: unknown): void {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  if (faults.has(message) || faults.size >= distinctFaultsMax) return;
  faults.add(message);
  const stack = error instanceof Error ? (error.stack ?? message) : message;
  report(`a fault in the proxy itself (it goes on; the same one is not shown again): ${stack}`);
}
