/** `rate_limit`: requests a second per client and host, or per path where the path has its own value. */
import type { Guard, Rehearsal } from "../guard.ts";
import { clientKey } from "./client-key.ts";
import type { Scope } from "./scope.ts";
import { tooMany } from "./too-many.ts";
import type { Windows } from "./windows.ts";

/** @param most requests in a window */
export function rateLimit(most: number, scope: Scope, windows: Windows): Guard {
  return {
    name: "rate_limit",
    check({ client, startedMs }) {
      const key = clientKey(client);
      if (windows.add(scope, key, startedMs) <= most) return undefined;
      return tooMany("rate_limit", most, windows.leftMs(scope, key, startedMs));
    },
    rehearse({ client, startedMs }): Rehearsal {
      const key = clientKey(client);
      const count = windows.count(scope, key, startedMs);
      return {
        verdict: count < most ? undefined : tooMany("rate_limit", most, windows.leftMs(scope, key, startedMs)),
        note: `${count} of ${most} requests of this client in its second`,
      };
    },
  };
}
