/** What `/status` says of the workers. */
import type { Fleet } from "../fleet.ts";

/** Why nobody answers requests; undefined = somebody does. */
export function noneServes({ workers }: Fleet): string | undefined {
  const some = workers.length === 0 || workers.some(({ state }) => state === "serving");
  return some ? undefined : "no worker serves";
}

/** @returns no member at all without workers */
export function workersOf({ workers }: Fleet): { readonly workers?: readonly object[] } {
  if (workers.length === 0) return {};
  return {
    workers: workers.map(({ worker, pid, state, version, sinceMs, restarts, open, residentBytes }) => ({
      worker,
      pid,
      state,
      version,
      since: new Date(sinceMs).toISOString(),
      restarts,
      requests_open: open,
      resident_bytes: residentBytes,
    })),
  };
}
