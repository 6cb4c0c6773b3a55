/** The verb `version`, and the version itself. */
import { version } from "../../package.json" with { type: "json" };
import type { Call } from "./verb.ts";

/** Set by build.ts; in a run from source there is no such name. */
declare const ARALEZ_COMMIT: string | undefined;

/** The commit this binary was built from; "source" when it runs from source. */
export const commit = typeof ARALEZ_COMMIT === "string" ? ARALEZ_COMMIT : "source";

export { version };

/** Prints `aralez X.Y.Z` exactly, as the original. */
export function run({ flags }: Call): number {
  console.log(`aralez ${version}`);
  if (flags.long) console.log(`commit ${commit}\nBun ${Bun.version}\n${process.platform} ${process.arch}`);
  return 0;
}
