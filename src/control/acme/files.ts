/** Files of the state folder: readable by nobody else, and replaced whole or not at all. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { acmeStateBytesMax } from "../../lib/limits.ts";

/** Mode 0600 in a folder of mode 0700, through a file beside it that is renamed. @throws the error of the file system */
export function writePrivately(file: string, text: string): void {
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const beside = join(folder, `.${basename(file)}.${randomBytes(6).toString("hex")}.tmp`);
  const descriptor = openSync(beside, "wx", 0o600);
  try {
    try {
      writeSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

/** @returns undefined when there is no such file. @throws Error when it cannot be read, or is too long to be ours */
export function readIfThere(file: string): string | undefined {
  try {
    const { size } = statSync(file);
    if (size > acmeStateBytesMax) throw new Error(`expected at most ${acmeStateBytesMax} bytes, found ${size}`);
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`Cannot read "${file}": ${(error as Error).message}`);
  }
}

/** The same as JSON; what is no JSON map counts as not there. */
export function readMap(file: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(readIfThere(file) ?? "null");
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
