/** Header rules compiled once per route: names to drop and lines to add. Engines apply them while copying fields. */
import type { FieldLine } from "../body.ts";
import { hopByHop, nominatedBy } from "../../lib/fields.ts";
import type { FieldVisitor } from "../exchange.ts";
import type { HeaderRule } from "./rules.ts";

export interface HeaderEdits {
  /** lower-case names not copied */
  readonly drop: ReadonlySet<string>;
  readonly lines: readonly FieldLine[];
  /** value for Host on the upstream request, when a rule sets it */
  readonly host?: string;
}

export const noEdits: HeaderEdits = { drop: new Set(), lines: [] };

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
  return host === undefined ? { drop, lines } : { drop, lines, host };
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
