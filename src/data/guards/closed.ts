/**
 * Guards of later releases fail closed: a route that asks for one answers 503 until the guard exists, never its content.
 */
import { refuse, type Guard } from "./guard.ts";

/** @param key the configuration key that asks for the guard */
export function closed(key: string): Guard {
  return {
    name: key,
    check: () =>
      refuse(
        503,
        "this route is protected by a guard that this version does not offer",
        [],
        `\`${key}\` is not in force in this version: failing closed`,
      ),
  };
}
