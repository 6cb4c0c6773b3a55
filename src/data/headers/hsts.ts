/** HSTS: `Strict-Transport-Security` on answers over TLS (RFC 6797), unless somebody has set it already. */
import type { FieldLine } from "../body.ts";
import type { Answer } from "../exchange.ts";
import type { HeaderRule } from "./rules.ts";

const name = "Strict-Transport-Security";
const lower = name.toLowerCase();

/** @returns the value of the field, or undefined when none is to be sent. @param rules of the answer: one that speaks of the field wins */
export function compileHsts(seconds: number, rules: readonly HeaderRule[]): string | undefined {
  if (seconds <= 0 || rules.some((rule) => rule.name.toLowerCase() === lower)) return undefined;
  return `max-age=${Math.floor(seconds)}`;
}

/** For an answer of our own. */
export function addHsts(fields: FieldLine[], value: string): void {
  if (!fields.some(([field]) => field.toLowerCase() === lower)) fields.push([name, value]);
}

/** For an upstream's answer. @param fields that are added to it */
export function withHsts(answer: Answer, fields: readonly FieldLine[], value: string): readonly FieldLine[] {
  return answer.field(lower) === undefined ? [...fields, [name, value]] : fields;
}
