/** HSTS: `Strict-Transport-Security` on answers over TLS (RFC 6797), unless somebody has set it already. */
import type { Reply } from "../exchange.ts";
import type { HeaderRule } from "./rules.ts";

const name = "Strict-Transport-Security";

/** @returns the value of the field, or undefined when none is to be sent. @param rules of the answer: one that speaks of the field wins */
export function compileHsts(seconds: number, rules: readonly HeaderRule[]): string | undefined {
  if (seconds <= 0 || rules.some((rule) => rule.name.toLowerCase() === name.toLowerCase())) return undefined;
  return `max-age=${Math.floor(seconds)}`;
}

export function addHsts(reply: Reply, value: string): void {
  const set = reply.passed
    ? reply.passed.field(name.toLowerCase()) !== undefined
    : reply.fields.some(([field]) => field.toLowerCase() === name.toLowerCase());
  if (!set) reply.fields.push([name, value]);
}
