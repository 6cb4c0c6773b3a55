/** Where main.yaml is looked for. */
import { statSync } from "node:fs";
import type { Environment } from "./verb.ts";

/**
 * The order of the contract (11.1): `-c`, `$ARALEZ_CONFIG`, `./main.yaml`, `/etc/aralez/main.yaml`. A file that was
 * named is returned whether it exists or not: to run something else than was asked for would be worse than an error.
 * @returns undefined when there is none at all
 */
export function findConfiguration(named: string | undefined, env: Environment): string | undefined {
  if (named !== undefined) return named;
  if (env.ARALEZ_CONFIG) return env.ARALEZ_CONFIG;
  return ["main.yaml", "/etc/aralez/main.yaml"].find(isThere);
}

/** One that we may not look at is there: the demo in its place would be a surprise. */
function isThere(file: string): boolean {
  try {
    statSync(file);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EACCES";
  }
}
