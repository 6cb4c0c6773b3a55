/** Lifts the number of upstream requests that may be in flight, which Bun reads from the environment before it starts. */
import type { Environment } from "./verb.ts";

const variable = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** The largest value Bun takes. */
const requestsMax = "65336";

/**
 * BUN(1.4.4): fetch has at most 256 requests in flight per process, so that 256 open event streams would block every
 * other request, and the limit is read before the first line of ours; remove when it can be set at run time.
 *
 * Replaces this process by itself with the variable set: same pid, same descriptors. A value that the user has set
 * stays. Returns only when nothing had to be done, or when it cannot be done (with a warning).
 */
export function raiseRequestLimit(env: Environment): void {
  if (env[variable] !== undefined) return;
  // A compiled binary finds its script in itself; an interpreter must be given it, with its own flags in front.
  const script = Bun.isStandaloneExecutable ? [] : [...process.execArgv, Bun.main];
  try {
    process.execve?.(process.execPath, [process.argv0, ...script, ...process.argv.slice(2)], {
      ...env,
      [variable]: requestsMax,
    });
  } catch {}
  console.error(`aralez: only 256 upstream requests can be in flight: set ${variable}=${requestsMax} to lift this`);
}
