/** Who takes part in a scenario, and what is missing on this machine for it. */
import { contenders, missingProgram, usual, type ContenderName } from "./contenders/index.ts";
import type { Scenario } from "./scenarios.ts";
import { isUserContender, missingUserProgram, userContenders } from "./user/contenders.ts";

export interface Choice {
  /** as asked for, or undefined */
  readonly contenders: readonly string[] | undefined;
  /** Aralez as `npm run build` makes it, for the user's benchmark */
  readonly binary: string;
}

/** Name → description, of those in any scenario. */
export const everyContender: Readonly<Record<string, { readonly doc: string }>> = { ...userContenders, ...contenders };

/** Were everything installed: of those asked for, who knows the scenario; otherwise the usual ones and who it adds. */
export function participants(scenario: Scenario, { contenders: chosen }: Choice): readonly string[] {
  const knows = (name: string) => (scenario.user ? isUserContender(name) : Object.hasOwn(contenders, name));
  if (chosen) return chosen.filter(knows);
  if (scenario.only) return scenario.only;
  if (!scenario.user) return [...usual, ...(scenario.also ?? [])];
  return Object.keys(userContenders).filter((name) => name !== "aralez-bun");
}

/** @returns what it lacks, or undefined */
export function missingFor(scenario: Scenario, name: string, { binary }: Choice): string | undefined {
  return scenario.user && isUserContender(name)
    ? missingUserProgram(name, binary)
    : missingProgram(name as ContenderName);
}

/** Those of the participants that can run here; of those asked for, all. */
export function able(scenario: Scenario, choice: Choice): readonly string[] {
  const names = participants(scenario, choice);
  return choice.contenders ? names : names.filter((name) => missingFor(scenario, name, choice) === undefined);
}
