/** Reads configuration files from disk; what is wrong with a file as a whole is a problem, never an exception. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { configBytesMax } from "../lib/limits.ts";
import { whyUnreadable } from "../lib/unreadable.ts";
import type { Problem } from "./problem.ts";
import { fileProblem } from "./report.ts";

export interface SourceText {
  readonly file: string;
  readonly text: string;
}

/** @returns the text of a UTF-8 file of at most {@link configBytesMax}, or the problem with it */
export function readText(file: string): SourceText | Problem {
  let bytes: Buffer;
  try {
    const stat = statSync(file);
    if (!stat.isFile())
      return fileProblem(
        file,
        `Cannot read "${file}": expected a file, found ${stat.isDirectory() ? "a folder" : "something else"}`,
      );
    if (stat.size > configBytesMax) return tooLarge(file, stat.size);
    bytes = readFileSync(file);
  } catch (error) {
    return fileProblem(file, `Cannot read "${file}": ${whyUnreadable(file, error)}`);
  }
  // It may have grown since it was measured.
  if (bytes.length > configBytesMax) return tooLarge(file, bytes.length);
  return decodeText(file, bytes);
}

/** The same for bytes that are already here, such as a pushed configuration. */
export function decodeText(file: string, bytes: Uint8Array): SourceText | Problem {
  if (bytes.length > configBytesMax) return tooLarge(file, bytes.length);
  try {
    return { file, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes) };
  } catch {
    const { line, column } = placeOfBadByte(bytes);
    return { ...fileProblem(file, `Cannot read "${file}": expected UTF-8 text, found other bytes here`), line, column };
  }
}

/** The `*.yaml` files of a folder in the order of their names; none when there is no such folder. Hidden ones are editors' own. */
export function listYamlFiles(folder: string): string[] | Problem {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".yaml") && !name.startsWith("."))
      .sort()
      .map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    return fileProblem(folder, `Cannot list "${folder}": ${whyUnreadable(folder, error)}`);
  }
}

export function isProblem(result: object): result is Problem {
  return "severity" in result;
}

function tooLarge(file: string, bytes: number): Problem {
  return fileProblem(file, `Cannot read "${file}": expected at most ${configBytesMax} bytes, found ${bytes}`);
}

/** Line and column from 1, the column in UTF-16 units. Piece by piece: 8 MiB must not hold up a proxy. */
function placeOfBadByte(bytes: Uint8Array): { line: number; column: number } {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let good = 0;
  try {
    for (; good < bytes.length; good += pieceBytes)
      decoder.decode(bytes.subarray(good, good + pieceBytes), { stream: true });
  } catch {
    // The bad byte lies in this piece, or ends a character of the one before.
  }
  const from = Math.max(0, good - pieceBytes);
  const startOfCharacter = from + continuationBytes(bytes, from);
  const piece = bytes.subarray(startOfCharacter, good + pieceBytes);
  const bad = startOfCharacter + firstBadByte(piece);
  let line = 1;
  let start = 0;
  for (let at = 0; at < bad; at++) {
    if (bytes[at] !== 0x0a) continue;
    line++;
    start = at + 1;
  }
  return { line, column: Buffer.from(bytes.subarray(start, bad)).toString("utf8").length + 1 };
}

const pieceBytes = 64 * 1024;

/** How many bytes at `from` belong to a character that begins before it. */
function continuationBytes(bytes: Uint8Array, from: number): number {
  let count = 0;
  while (from > 0 && count < 3 && ((bytes[from + count] ?? 0) & 0xc0) === 0x80) count++;
  return count;
}

/** What decoding replaces is the first place where encoding again gives other bytes. */
function firstBadByte(bytes: Uint8Array): number {
  const again = Buffer.from(Buffer.from(bytes).toString("utf8"));
  let at = 0;
  while (at < bytes.length && bytes[at] === again[at]) at++;
  return at;
}
