/** Header rules compiled once per route: names to drop and lines to add. Engines apply them while copying fields. */
import type { FieldLine } from "../body.ts";
import { hopByHop, nominatedBy } from "../../lib/fields.ts";
import type { FieldVisitor } from "../exchange.ts";
import { ByteNames } from "../wire/byte-names.ts";
import type { HeaderRule } from "./rules.ts";

export class HeaderEdits {
  /** {@link lines} as they go out in HTTP/1.1; latin1 */
  readonly bytes: Buffer;
  /** of {@link bytes}, four per line: start and end of the name, start and end of the value */
  readonly offsets: Int32Array;
  #answerDrops: ByteNames | undefined;
  /** kept by the request writer */
  requestDrops:
    | {
        readonly trusted: ByteNames;
        readonly untrusted: ByteNames;
        /** a rule speaks of what we say about the client */
        readonly said: boolean;
      }
    | undefined;

  constructor(
    /** lower-case names not copied */
    readonly drop: ReadonlySet<string>,
    readonly lines: readonly FieldLine[],
    /** value for Host on the upstream request, when a rule sets it */
    readonly host: string | undefined,
  ) {
    this.bytes = Buffer.from(lines.map(([name, value]) => `${name}: ${value}\r\n`).join(""), "latin1");
    this.offsets = new Int32Array(4 * lines.length);
    let at = 0;
    lines.forEach(([name, value], i) => {
      const middle = at + name.length + 2;
      this.offsets.set([at, at + name.length, middle, middle + value.length], 4 * i);
      at = middle + value.length + 2;
    });
  }

  /** What is not copied from an upstream's answer. */
  get answerDrops(): ByteNames {
    return (this.#answerDrops ??= new ByteNames([...hopByHop, ...this.drop]));
  }
}

export const noEdits = new HeaderEdits(new Set(), [], undefined);

/** Merges header lists by name: a nearer list's items replace all items of that name from outer lists (B11). */
export function mergeHeaderRules(...outerToInner: (readonly HeaderRule[] | undefined)[]): readonly HeaderRule[] {
  let merged: readonly HeaderRule[] = [];
  for (const level of outerToInner) {
    if (!level || level.length === 0) continue;
    const named = new Set(level.map((rule) => rule.name.toLowerCase()));
    merged = [...merged.filter((rule) => !named.has(rule.name.toLowerCase())), ...level];
  }
  return merged;
}

/** Compiles rules; `set` drops what came and adds a line, a later `set` of one name replaces an earlier one. */
export function compileEdits(rules: readonly HeaderRule[]): HeaderEdits {
  if (rules.length === 0) return noEdits;
  const drop = new Set<string>();
  let lines: FieldLine[] = [];
  let host: string | undefined;
  for (const { act, name, value } of rules) {
    const lower = name.toLowerCase();
    if (lower === "host") {
      host = value;
      continue;
    }
    if (act !== "add") {
      drop.add(lower);
      lines = lines.filter(([other]) => other.toLowerCase() !== lower);
    }
    if (act !== "remove") lines.push([name, value]);
  }
  return new HeaderEdits(drop, lines, host);
}

/** Anything whose fields can be visited and asked for: an Exchange or an Answer. */
export interface FieldSource {
  field(name: string): string | undefined;
  eachField(visit: FieldVisitor): void;
}

/** Copies end-to-end fields: hop-by-hop ones, those that `Connection` nominates and those the edits drop stay behind. */
export function copyFields(
  from: FieldSource,
  edits: HeaderEdits,
  keep: (lower: string) => boolean,
  visit: FieldVisitor,
): void {
  const nominated = nominatedBy(from.field("connection"));
  from.eachField((name, value) => {
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || edits.drop.has(lower) || nominated?.has(lower) || !keep(lower)) return;
    visit(name, value);
  });
}

/** Edits applied to fields of our own making (files): the same rules as for an upstream's answer. */
export function applyEdits(fields: readonly FieldLine[], edits: HeaderEdits): FieldLine[] {
  return [...fields.filter(([name]) => !edits.drop.has(name.toLowerCase())), ...edits.lines];
}
