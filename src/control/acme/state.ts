/** States: what is told of a name's certificate by `aralez certs` and the admin API. */
import { join } from "node:path";
import { readIfThere } from "./files.ts";
import { isOrderable } from "./names.ts";
import { orderDueMs, renewalOf, type Entry } from "./record.ts";

export interface AcmeState {
  readonly name: string;
  /** waiting: the first order is due; failed: there is no usable certificate, and the last try failed */
  readonly state: "valid" | "renewing" | "ordering" | "waiting" | "failed";
  /** milliseconds since 1970, as all times here; absent without a certificate */
  readonly notAfterMs?: number;
  readonly renewAtMs?: number;
  /** now, where it is due; absent while nothing has failed */
  readonly nextTryMs?: number;
  /** in a row */
  readonly failures: number;
  /** why the last try failed; "" when it did not */
  readonly trouble: string;
}

/** @param renewBeforeDays as configured */
export function stateOf(entry: Entry, renewBeforeDays: number | undefined, nowMs: number): AcmeState {
  const { name, held, record, ordering } = entry;
  const isHeld = held !== undefined && held.notAfterMs > nowMs;
  const renewAtMs = renewalOf(entry, renewBeforeDays);
  const { failures, trouble } = record;
  return {
    name,
    state: ordering ? (isHeld ? "renewing" : "ordering") : isHeld ? "valid" : trouble === "" ? "waiting" : "failed",
    ...(held && { notAfterMs: held.notAfterMs }),
    ...(renewAtMs !== undefined && { renewAtMs }),
    ...(failures > 0 && { nextTryMs: Math.max(orderDueMs(entry, renewBeforeDays), nowMs) }),
    failures,
    trouble,
  };
}

/** The names of `domains.json`: ordered by hand, here or by the original. */
export function readOrdered(folder: string): string[] {
  try {
    const names: unknown = JSON.parse(readIfThere(join(folder, "domains.json")) ?? "[]");
    if (!Array.isArray(names)) return [];
    const known = names.flatMap((name) => (typeof name === "string" ? [name.toLowerCase()] : []));
    return [...new Set(known)].filter(isOrderable);
  } catch {
    return [];
  }
}
