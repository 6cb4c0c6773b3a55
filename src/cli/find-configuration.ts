/** Where main.yaml is looked for. */
import { existsSync } from "node:fs";
import type { Environment } from "./verb.ts";

/**
 * The order of the contract (11.1): `-c`, `$ARALEZ_CONFIG`, `./main.yaml`, `/etc/aralez/main.yaml`. A file that was
 * named is returned whether it exists or not: to run something else than was asked for would be worse than an error.
 * @returns undefined when there is none at all
 */
export function findConfiguration(named: string | undefined, env: Environment): string | undefined {
  if (named !== undefined) return named;
  if (env.ARALEZ_CONFIG) return env.ARALEZ_CONFIG;
  return ["main.yaml", "/etc/aralez/main.yaml"].find((file) => existsSync(file));
}
