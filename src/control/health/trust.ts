/** Certificate authorities of `ca_file`, read anew when the file changes. */
import { readFileSync, statSync } from "node:fs";
import { BoundedMap } from "../../lib/bounded-map.ts";
import { describe } from "../../lib/cause.ts";
import { caFilesMax } from "../../lib/limits.ts";

const read = new BoundedMap<string, { readonly stamp: string; readonly pem: string }>(caFilesMax);

/** @returns the PEM text. @throws Error with a short cause */
export function readAuthorities(path: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(path);
    const stamp = `${mtimeMs} ${size} ${ino}`;
    const known = read.get(path);
    if (known?.stamp === stamp) return known.pem;
    const pem = readFileSync(path, "utf8");
    read.set(path, { stamp, pem });
    return pem;
  } catch (error) {
    throw new Error(`Cannot read ca_file "${path}": ${describe(error)}`);
  }
}
