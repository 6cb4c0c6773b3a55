/** Which fields of a forward service's permission go on to the upstream, and which of the client's own must not. */
import { framing, hopByHop } from "../../../lib/fields.ts";
import { dropped, rewritten } from "../../headers/to-upstream.ts";

export const copyHeadersDefault = ["x-*", "remote-*"];

export class CopyHeaders {
  readonly #exact = new Set<string>();
  readonly #prefixes: string[] = [];

  /** @param patterns names, or beginnings of names with a final `*` */
  constructor(patterns: readonly string[]) {
    for (const pattern of patterns.map((one) => one.toLowerCase())) {
      if (pattern.endsWith("*")) this.#prefixes.push(pattern.slice(0, -1));
      else this.#exact.add(pattern);
    }
  }

  /** A field that only the service may set: a client that sends it claims to be somebody. @param lower its name */
  removes(lower: string): boolean {
    return lower.startsWith("remote-") || this.#exact.has(lower);
  }

  /** @param lower a name of the service's answer */
  copies(lower: string): boolean {
    if (!mayCopy(lower)) return false;
    return this.#exact.has(lower) || this.#prefixes.some((prefix) => lower.startsWith(prefix));
  }
}

/** Not what belongs to a connection or frames a message, nor what this proxy says about the client itself. */
export function mayCopy(lower: string): boolean {
  return !hopByHop.has(lower) && !framing.has(lower) && !dropped.has(lower) && !rewritten.has(lower);
}
