/**
 * The shapes of configuration values: durations, sizes, addresses, files, secrets, and `key`, which joins a shape
 * with its places, default and one sentence of documentation. Parser, types, defaults, error texts, JSON Schema and
 * README tables all come from these.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { z } from "zod";
import {
  type ListenAddress,
  readClientAddress,
  readListenAddress,
  readServer,
  protocols,
  type DialAddress,
  type Protocol,
} from "../lib/address.ts";
import { namedFileBytesMax } from "../lib/limits.ts";
import { whyUnreadable } from "../lib/unreadable.ts";

/** Where a key may be written: M main.yaml, U top level of upstreams.yaml, H under a host, P under a path. */
export type Place = "M" | "U" | "H" | "P";

/** What the README table and the JSON Schema say about a key beside its shape. */
export interface About {
  /** the default as a user would write it; "" = none */
  readonly default: string;
  /** one sentence */
  readonly doc: string;
  /** M keys: SIGHUP applies a change */
  readonly reloads?: boolean;
  /** a key of the original that has no effect here */
  readonly ignored?: boolean;
  /** with `ignored`: the original has the feature, we do not offer it yet; said louder */
  readonly wanted?: boolean;
  /** only accepted for old files: not in the tables of the README */
  readonly legacy?: boolean;
}

export interface Key<P extends string, S extends z.ZodType> {
  readonly places: P;
  readonly shape: S;
  readonly about: About;
}

/** Declares a configuration key. `places` is a string of {@link Place} letters, for example "UHP". */
export function key<P extends string, S extends z.ZodType>(places: P, shape: S, about: About): Key<P, S> {
  return { places, shape, about };
}

export type Keys = Record<string, Key<string, z.ZodType>>;

/** The strict-object shape of the keys that may stand at a place, every one optional. */
export type ShapeAt<K extends Keys, P extends Place> = {
  [N in keyof K as K[N]["places"] extends `${string}${P}${string}` ? N : never]: z.ZodOptional<K[N]["shape"]>;
};

/** @returns the fields of `z.strictObject` for one place. */
export function shapeAt<K extends Keys, P extends Place>(keys: K, place: P): ShapeAt<K, P> {
  const fields: Record<string, z.ZodType> = {};
  for (const [name, { places, shape, about }] of Object.entries(keys)) {
    if (places.includes(place)) fields[name] = shape.optional().meta({ description: about.doc, about });
  }
  return fields as ShapeAt<K, P>;
}

/** What reading a value may need to know about the file it stands in. Set for the time of one (synchronous) check. */
export interface ReadingContext {
  /** folder of main.yaml: relative file names start here */
  folder: string;
  /** the current folder, where the original looked */
  workingFolder: string;
  env: Record<string, string | undefined>;
  /** called for a remark that is neither an error nor a legacy warning. @param about the value it is about */
  note(text: string, about: string): void;
}

const noContext: ReadingContext = { folder: ".", workingFolder: ".", env: {}, note: () => {} };
let context: ReadingContext = noContext;

/** Runs `read` with file names, secrets and notes resolved by `given`. */
export function reading<T>(given: ReadingContext, read: () => T): T {
  const before = context;
  context = given;
  try {
    return read();
  } finally {
    context = before;
  }
}

/** Meta data that our own shapes carry; `json` is the JSON Schema of what may be written. */
export interface ShapeMeta {
  json?: Record<string, unknown>;
  /** completes "expected …" in errors and the type column of the README */
  expected?: string;
  /** values are never shown */
  secret?: boolean;
}

/**
 * A value read by one function. `read` gets whatever YAML held and returns the checked value.
 * @param expected completes "expected …, found …"
 * @param read throws an Error with a message of its own, or returns undefined for the standard message
 */
export function scalar<T>(
  expected: string,
  json: Record<string, unknown>,
  read: (value: unknown) => T | undefined,
  secret = false,
) {
  return z
    .unknown()
    .transform((value, ctx): T => {
      let message = `expected ${expected}, found ${secret ? "something else" : show(value)}`;
      try {
        const result = read(value);
        if (result !== undefined) return result;
      } catch (error) {
        message = (error as Error).message;
      }
      const words = secret ? [] : Array.isArray(json.enum) ? json.enum.filter((word) => typeof word === "string") : [];
      ctx.issues.push({ code: "custom", message, input: value, ...(words.length > 0 && { params: { words } }) });
      return z.NEVER;
    })
    .meta({ json, expected, secret } satisfies ShapeMeta);
}

/** A value as an error message shows it: quoted, short, never a whole map. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "string") return value.length > 60 ? `"${value.slice(0, 57)}…"` : `"${value}"`;
  return String(value);
}

/** The message of a union none of whose shapes fits; `check` completes it with what was found. */
export function expecting(expected: string) {
  return { error: () => `expected ${expected}` };
}

export const flag = scalar("true or false", { type: "boolean" }, (v) => (typeof v === "boolean" ? v : undefined));

/** A string; YAML numbers and booleans are taken as they were written by the loader. */
export const text = scalar("text", { type: "string" }, (v) =>
  typeof v === "string" ? v : typeof v === "number" ? String(v) : undefined,
);

/** @param least inclusive; @param most inclusive */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER) {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return scalar(`a whole number ${range}`, { type: "integer", minimum: least, maximum: most }, (v) =>
    typeof v === "number" && Number.isInteger(v) && v >= least && v <= most ? v : undefined,
  );
}

export function oneOf<const W extends string | number>(words: readonly W[], json?: Record<string, unknown>) {
  return scalar(list(words.map(String)), json ?? { enum: [...words] }, (v) => words.find((word) => word === v));
}

/** "a, b or c" */
export function list(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

const durationUnits: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** Seconds, fractions allowed, or "250ms" "10s" "5m" "1h". @param least smallest value allowed, in seconds. */
export function seconds(least: number) {
  const expected = `seconds (a number, or "250ms", "10s", "5m", "1h")${least > 0 ? " above 0" : ""}`;
  const json = {
    anyOf: [
      { type: "number", minimum: least },
      { type: "string", pattern: "^[0-9.]+(ms|s|m|h)$" },
    ],
  };
  return scalar(expected, json, (v) => {
    let value: number | undefined;
    if (typeof v === "number") value = v;
    else if (typeof v === "string") {
      const parts = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?$/.exec(v.trim());
      if (parts) value = Number(parts[1]) * durationUnits[parts[2] ?? "s"]!;
    }
    // A month bounds slips such as milliseconds written where seconds are meant, and keeps timers in range.
    return value !== undefined && Number.isFinite(value) && value >= least && value <= 2_147_483 ? value : undefined;
  });
}

const sizeUnits: Record<string, number> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Bytes, or a number with K, M or G (×1024). */
export function size(least: number) {
  const json = {
    anyOf: [
      { type: "integer", minimum: least },
      { type: "string", pattern: "^[0-9]+(\\.[0-9]+)?[KMG]?$" },
    ],
  };
  return scalar(
    `bytes, or a size such as 64K, 10M, 1G${least > 0 ? `, of at least ${least} bytes` : ""}`,
    json,
    (v) => {
      const parts = /^([0-9]+(?:\.[0-9]+)?)([KMG]?)B?$/i.exec(
        typeof v === "number" || typeof v === "string" ? String(v) : "",
      );
      if (!parts) return undefined;
      const bytes = Math.round(Number(parts[1]) * sizeUnits[parts[2]!.toUpperCase()]!);
      return bytes >= least && Number.isSafeInteger(bytes) ? bytes : undefined;
    },
  );
}

/** Where to listen. */
export const listenAddress = scalar(
  '"ip:port", "[ipv6]:port" or ":port"',
  { type: "string" },
  (v): ListenAddress | undefined => (typeof v === "string" ? readListenAddress(v) : undefined),
);

/** One upstream server. */
export interface ServerRule {
  readonly address: DialAddress;
  /** 1 to 256 */
  readonly weight: number;
  /** absent: the path's `protocol` decides */
  readonly protocol?: Protocol;
}

const serverText = scalar("text", { type: "string" }, (v): ServerRule | undefined =>
  typeof v === "string" ? { ...readServer(v), weight: 1 } : undefined,
);

const serverMap = z
  .strictObject({ address: serverText, weight: whole(1, 256).optional(), protocol: oneOf(protocols).optional() })
  .transform(({ address, weight = 1, protocol }): ServerRule => ({
    ...address,
    weight,
    ...(protocol && { protocol }),
  }));

const serverForms = '"host:port", "scheme://host[:port]", "unix:/path" or {address, weight, protocol}';

export const server = z
  .union([serverText, serverMap], expecting(serverForms))
  .meta({ expected: serverForms } satisfies ShapeMeta);

/** A list of client addresses; kept as text (rules are plain data), compiled to an AddressSet later. */
export const clientAddresses = z
  .array(
    scalar('an IP address, a CIDR block, "loopback" or "private"', { type: "string" }, (v) => {
      if (typeof v !== "string") return undefined;
      readClientAddress(v);
      return v;
    }),
  )
  .meta({ expected: "a list of client addresses" } satisfies ShapeMeta);

/** Resolves a file name by the rule of section 14: beside main.yaml, else (with a note) in the current folder. */
export function resolveFile(name: string): string {
  if (isAbsolute(name)) return name;
  const beside = resolve(context.folder, name);
  if (existsSync(beside)) return beside;
  const here = resolve(context.workingFolder, name);
  if (here !== beside && existsSync(here)) {
    context.note(`"${name}" was found in the current folder, not beside main.yaml: write its full path`, name);
    return here;
  }
  return beside;
}

/** A file or folder name, made absolute. Whether it exists is for its user to find out. */
export const fileName = scalar("a file name", { type: "string" }, (v) =>
  typeof v === "string" && v.trim() !== "" && !v.includes("\0") ? resolveFile(v) : undefined,
);

/** A folder that must be there at load. */
export const folderName = scalar("a folder", { type: "string" }, (v) => {
  if (typeof v !== "string" || v.trim() === "" || v.includes("\0")) return undefined;
  const path = resolveFile(v);
  if (!existsSync(path)) throw new Error(`the folder "${v}" does not exist (looked for ${path})`);
  return path;
});

/**
 * The text of a file that a value names. Neither a pipe, which would be waited for, nor a device without an end.
 * @throws Error with a code that says why
 */
export function readNamed(path: string): string {
  const stat = statSync(path);
  if (!stat.isFile() && !stat.isDirectory()) throw Object.assign(new Error(path), { code: "it is no plain file" });
  if (stat.size > namedFileBytesMax)
    throw Object.assign(new Error(path), { code: `it has more than ${namedFileBytesMax} bytes` });
  return readFileSync(path, "utf8");
}

/** A PEM file of certificates to trust, which must be there; the value is its absolute name. */
export const pemFile = scalar("a PEM file", { type: "string" }, (v) => {
  if (typeof v !== "string" || v.trim() === "") return undefined;
  const path = resolveFile(v);
  let content: string;
  try {
    content = readNamed(path);
  } catch (error) {
    throw new Error(`cannot read "${v}": ${whyUnreadable(path, error)} (looked for ${path})`);
  }
  if (!content.includes("-----BEGIN "))
    throw new Error(`expected PEM in "${v}", found ${content.length} characters without "-----BEGIN"`);
  // A key or a CSR in its place would leave a context that trusts nobody, or worse the authorities of the system.
  const blocks = content.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END /g);
  if (!blocks)
    throw new Error(`expected a CERTIFICATE in "${v}", found ${/-----BEGIN ([A-Z0-9 ]*)/.exec(content)?.[1]}`);
  return path;
});

/**
 * Reads a secret: text, `{env: NAME}` or `{file: PATH}`.
 * @returns undefined when the value is none of these
 * @throws Error when it is empty, or when its variable or file is not there
 */
export function readSecret(v: unknown): string | undefined {
  let value: string | undefined;
  if (typeof v === "string" || typeof v === "number") value = String(v);
  else if (typeof v === "object" && v !== null && Object.keys(v).length === 1) {
    const { env, file } = v as { env?: unknown; file?: unknown };
    if (typeof env === "string") {
      value = context.env[env];
      if (value === undefined) throw new Error(`the environment variable ${env} is not set`);
    } else if (typeof file === "string") {
      const path = resolveFile(file);
      try {
        value = readNamed(path).replace(/\r?\n$/, "");
      } catch (error) {
        throw new Error(`cannot read the secret's file "${file}": ${whyUnreadable(path, error)}`);
      }
    }
  }
  if (value === "") throw new Error("empty credentials are refused: anybody could present them");
  return value;
}

export const secretJson = {
  anyOf: [
    { type: "string", minLength: 1 },
    { type: "object", properties: { env: { type: "string" } }, required: ["env"], additionalProperties: false },
    { type: "object", properties: { file: { type: "string" } }, required: ["file"], additionalProperties: false },
  ],
};

/** A secret: text, `{env: NAME}` or `{file: PATH}`; never empty, never shown. */
export const secret = scalar("text, {env: NAME} or {file: PATH}", secretJson, readSecret, true);
