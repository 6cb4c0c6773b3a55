/** Which fields of a forward service's permission go on to the upstream, and which of the client's own must not. */
import { framing, hopByHop } from "../../../lib/fields.ts";
import { dropped, rewritten } from "../../headers/to-upstream.ts";

export const copyHeadersDefault = ["x-*", "remote-*"];

export class CopyHeaders {
  /** names that only the service may set, wherever in the request; lower case */
  readonly exact: ReadonlySet<string>;
  readonly #prefixes: readonly string[];

  /** @param patterns names, or beginnings of names with a final `*` */
  constructor(patterns: readonly string[]) {
    const lower = patterns.map((pattern) => pattern.toLowerCase());
    this.exact = new Set(lower.filter((pattern) => !pattern.endsWith("*")));
    this.#prefixes = lower.filter((pattern) => pattern.endsWith("*")).map((pattern) => pattern.slice(0, -1));
  }

  /** @param lower a name of the service's answer */
  copies(lower: string): boolean {
    if (!mayCopy(lower)) return false;
    return this.exact.has(lower) || this.#prefixes.some((prefix) => lower.startsWith(prefix));
  }
}

/** Not what belongs to a connection or frames a message, nor what this proxy says about the client itself. */
export function mayCopy(lower: string): boolean {
  return !hopByHop.has(lower) && !framing.has(lower) && !dropped.has(lower) && !rewritten.has(lower);
}
