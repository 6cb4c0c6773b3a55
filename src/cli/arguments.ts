/** Reads arguments by the table of verbs; what does not fit is a UsageError that says what was probably meant. */
import { parseArgs } from "node:util";
import { suggest } from "../lib/suggest.ts";
import { helpFlag, type Call, type Environment, type Flag, type Verb, type Verbs } from "./verb.ts";

/** The program was called wrongly: the message goes to stderr, the exit code is 2. */
export class UsageError extends Error {
  /** @param verb whose help to point at; "" = the general one */
  constructor(
    message: string,
    readonly verb = "",
  ) {
    super(message);
  }
}

export interface Reading {
  readonly name: string;
  readonly verb: Verb;
  readonly call: Call;
}

/** @throws UsageError */
export function readArguments(args: readonly string[], verbs: Verbs, env: Environment): Reading {
  const name = args[0] !== undefined && !args[0].startsWith("-") ? args[0] : "";
  const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (!verb) throw unknownVerb(name, verbs);
  const known: Record<string, Flag> = { ...verb.flags, help: helpFlag };
  // Not strict: Node's own messages know neither our table nor "did you mean".
  const { tokens } = parseArgs({
    args: args.slice(name === "" ? 0 : 1),
    options: Object.fromEntries(
      Object.entries(known).map(([flag, { type, short }]) => [flag, short === undefined ? { type } : { type, short }]),
    ),
    strict: false,
    tokens: true,
    allowPositionals: true,
  });

  const flags: Record<string, string | boolean | string[]> = {};
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const flag = Object.hasOwn(known, token.name) ? known[token.name] : undefined;
    if (!flag) throw unknownFlag(token.rawName, name, known, verbs);
    if (flag.type === "boolean") {
      if (token.value !== undefined)
        throw new UsageError(`${token.rawName} takes no value, found "${token.value}"`, name);
      flags[token.name] = true;
      continue;
    }
    const value = valueOf(token, flag, name);
    const before = flags[token.name];
    if (flag.multiple) flags[token.name] = [...(Array.isArray(before) ? before : []), value];
    else if (before !== undefined) throw new UsageError(`${token.rawName} is given twice`, name);
    else flags[token.name] = value;
  }
  const operand = flags.help ? operands[0] : operandOf(operands, name, verb, verbs);
  return { name, verb, call: { flags, operand, operands, verbs, env } };
}

interface OptionToken {
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function valueOf({ rawName, value, inlineValue }: OptionToken, flag: Flag, verb: string): string {
  const wanted = flag.value ?? "a value";
  if (value === undefined || value === "") throw new UsageError(`${rawName} needs ${wanted}`, verb);
  // `-c --test` is a forgotten file name; a file of that name can be given as `-c=--test` or `./--test`.
  if (!inlineValue && value.startsWith("-")) throw new UsageError(`${rawName} needs ${wanted}, found "${value}"`, verb);
  // The original's parser reads `-c=FILE`, too.
  const text = inlineValue && !rawName.startsWith("--") && value.startsWith("=") ? value.slice(1) : value;
  if (flag.words && !flag.words.includes(text)) throw unknownWord(rawName, text, flag.words, verb);
  return text;
}

function operandOf(found: string[], name: string, verb: Verb, verbs: Verbs): string | undefined {
  const { operand } = verb;
  const surplus = found[operand ? (operand.most ?? 1) : 0];
  if (surplus !== undefined) {
    if (name === "" && Object.hasOwn(verbs, surplus))
      throw new UsageError(`the verb comes first: aralez ${surplus} …`, surplus);
    throw new UsageError(`unexpected argument "${surplus}"`, name);
  }
  const value = found[0];
  if (value === undefined) {
    if (operand?.required) throw new UsageError(`${name} needs ${operand.words?.join(" or ") ?? operand.name}`, name);
    return undefined;
  }
  if (operand?.words && !operand.words.includes(value)) throw unknownWord(name, value, operand.words, name);
  return value;
}

function unknownVerb(word: string, verbs: Verbs): UsageError {
  if (/\.ya?ml$/.test(word)) return new UsageError(`unknown verb "${word}": to run with this file, aralez -c ${word}`);
  return new UsageError(`unknown verb "${word}"${meant(suggest(word, Object.keys(verbs).filter(Boolean)))}`);
}

function unknownFlag(raw: string, verb: string, known: Record<string, Flag>, verbs: Verbs): UsageError {
  const word = raw.replace(/^-+/, "");
  const near = raw.startsWith("--") ? suggest(word, Object.keys(known)) : undefined;
  const home = Object.keys(verbs).find((other) => Object.hasOwn(verbs[other]!.flags, word));
  const elsewhere = near === undefined && home !== undefined ? `, it belongs to \`${`aralez ${home}`.trim()}\`` : "";
  return new UsageError(`unknown flag ${raw}${meant(near && `--${near}`)}${elsewhere}`, verb);
}

function unknownWord(what: string, word: string, words: readonly string[], verb: string): UsageError {
  return new UsageError(`${what}: expected ${words.join(" or ")}, found "${word}"${meant(suggest(word, words))}`, verb);
}

function meant(word: string | undefined): string {
  return word === undefined ? "" : `, did you mean ${word}?`;
}
