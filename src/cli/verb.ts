/** What a verb of the command line is, and what it gets when it is called. */

export type Environment = Record<string, string | undefined>;

export interface Flag {
  readonly type: "boolean" | "string";
  readonly short?: string;
  readonly multiple?: boolean;
  /** what the help calls the value */
  readonly value?: string;
  /** the only values allowed */
  readonly words?: readonly string[];
  readonly doc: string;
}

export interface Operand {
  readonly name: string;
  readonly required: boolean;
  /** how many of them there may be; 1 where it does not say */
  readonly most?: number;
  /** the only values allowed */
  readonly words?: readonly string[];
}

export interface Verb {
  /** one line, small initial, no full stop */
  readonly doc: string;
  readonly operand?: Operand;
  readonly flags: Readonly<Record<string, Flag>>;
  /** Loaded when called: `--version` must not wait for a YAML parser. */
  load(): Promise<{ run(call: Call): Promise<number> | number }>;
}

export type Verbs = Readonly<Record<string, Verb>>;

export interface Call {
  readonly flags: Readonly<Record<string, string | boolean | string[] | undefined>>;
  /** the first of {@link operands} */
  readonly operand: string | undefined;
  readonly operands: readonly string[];
  readonly verbs: Verbs;
  readonly env: Environment;
}

/** Every verb takes it, so it stands here and not in each of them. */
export const helpFlag: Flag = { type: "boolean", short: "h", doc: "print help and exit" };

/** @returns the value of a flag that takes one */
export function textOf(call: Call, flag: string): string | undefined {
  const value = call.flags[flag];
  return typeof value === "string" ? value : undefined;
}
