/** The verb `help`: help texts made from the table of verbs. */
import { UsageError } from "./arguments.ts";
import { suggest } from "../lib/suggest.ts";
import { helpFlag, type Call, type Flag, type Verb, type Verbs } from "./verb.ts";

export function run({ operand = "", verbs }: Call): number {
  const verb = Object.hasOwn(verbs, operand) ? verbs[operand] : undefined;
  if (!verb) {
    const near = suggest(operand, Object.keys(verbs).filter(Boolean));
    throw new UsageError(`unknown verb "${operand}"${near === undefined ? "" : `, did you mean ${near}?`}`);
  }
  console.log(operand === "" ? generalHelp(verbs) : verbHelp(operand, verb));
  return 0;
}

/** @returns what `aralez --help` prints */
export function generalHelp(verbs: Verbs): string {
  const { "": main, ...named } = verbs;
  return [
    "aralez: a reverse proxy on Bun",
    "",
    "Usage: aralez [FLAGS]           " + (main?.doc ?? ""),
    "       aralez VERB [FLAGS]",
    "",
    "Flags:",
    ...rows(flagRows(main?.flags ?? {})),
    "",
    "Verbs:",
    ...rows(Object.entries(named).map(([name, verb]) => [callOf(name, verb), verb.doc])),
    "",
    "`aralez help VERB` shows the flags of a verb. Exit codes: 0 done, 1 failed, 2 used wrongly.",
    "Signals: TERM and INT stop (a second one at once), QUIT stops once a successor serves, USR2 starts one,",
    "HUP reloads, USR1 reopens log files.",
  ].join("\n");
}

function verbHelp(name: string, verb: Verb): string {
  return [
    `Usage: aralez ${callOf(name, verb)} [FLAGS]`,
    "",
    verb.doc,
    "",
    "Flags:",
    ...rows(flagRows(verb.flags)),
  ].join("\n");
}

function callOf(name: string, { operand }: Verb): string {
  if (!operand) return name;
  const what = operand.words?.join("|") ?? operand.name;
  return `${name} ${operand.required ? what : `[${what}]`}`;
}

function flagRows(flags: Readonly<Record<string, Flag>>): [string, string][] {
  return Object.entries({ ...flags, help: helpFlag }).map(([name, { short, value, doc }]) => [
    `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`,
    doc,
  ]);
}

function rows(pairs: [string, string][]): string[] {
  const width = Math.max(...pairs.map(([left]) => left.length));
  return pairs.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
