/** History: the last sets of rules that were in force, with their text, so that one of them can come back. */
import { ruleHistoryCharsMax, ruleHistoryMax } from "../lib/limits.ts";
import type { RuleSources } from "./parse.ts";

/** Where a set of rules came from. */
export type Origin = "files" | "push" | "rollback";

export interface Version {
  /** hash of the checked rules */
  readonly version: string;
  readonly origin: Origin;
  /** milliseconds since 1970 */
  readonly timeMs: number;
  /** against the one before: "+1 host, ~2 routes" */
  readonly changes: string;
  readonly sources: RuleSources;
}

export class History {
  /** the one in force last */
  readonly #versions: Version[] = [];

  /** @param entry is in force from now on */
  add(entry: Version): void {
    const last = this.#versions.at(-1);
    // The same rules again (SIGHUP) are no new version, but the text may be another.
    if (last?.version === entry.version) this.#versions.pop();
    this.#versions.push(last?.version === entry.version ? { ...entry, changes: last.changes } : entry);
    let chars = this.#versions.reduce((sum, { sources }) => sum + charsOf(sources), 0);
    while (this.#versions.length > ruleHistoryMax || (this.#versions.length > 1 && chars > ruleHistoryCharsMax)) {
      chars -= charsOf(this.#versions.shift()!.sources);
    }
  }

  /** Newest first. */
  list(): readonly Version[] {
    return this.#versions.toReversed();
  }

  /** @param version undefined = the one before the one in force */
  find(version: string | undefined): Version | undefined {
    if (version === undefined) return this.#versions.at(-2);
    return this.#versions.findLast((entry) => entry.version === version);
  }
}

function charsOf({ main, confd }: RuleSources): number {
  return confd.reduce((sum, { text }) => sum + text.length, main.text.length);
}
