/** Capabilities of a process, as /proc tells them (capabilities(7)). */
import { readFileSync } from "node:fs";

export interface Capabilities {
  /** bit sets */
  readonly permitted: bigint;
  readonly effective: bigint;
  readonly bounding: bigint;
  readonly ambient: bigint;
}

/** @param pid or "self". All empty where /proc does not tell */
export function capabilitiesOf(pid: number | "self"): Capabilities {
  let text = "";
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    // Gone, or no Linux.
  }
  const set = (name: string) => BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(text)?.[1] ?? "0"}`);
  return { permitted: set("CapPrm"), effective: set("CapEff"), bounding: set("CapBnd"), ambient: set("CapAmb") };
}
