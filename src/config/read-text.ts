/** Reads configuration files from disk; what is wrong with a file as a whole is a problem, never an exception. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { configBytesMax } from "../lib/limits.ts";
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
    return fileProblem(file, `Cannot read "${file}": ${reason(error)}`);
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
    const before = Buffer.from(bytes.subarray(0, firstBadByte(bytes))).toString("utf8");
    const line = before.split("\n").length;
    const column = before.length - before.lastIndexOf("\n");
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
    return fileProblem(folder, `Cannot list "${folder}": ${reason(error)}`);
  }
}

export function isProblem(result: object): result is Problem {
  return "severity" in result;
}

function tooLarge(file: string, bytes: number): Problem {
  return fileProblem(file, `Cannot read "${file}": expected at most ${configBytesMax} bytes, found ${bytes}`);
}

const reasons: Record<string, string> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  ENOTDIR: "a part of its path is not a folder",
  ELOOP: "its symbolic links lead in a circle",
};

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return reasons[code ?? ""] ?? code ?? message;
}

/** What decoding replaces is the first place where encoding again gives other bytes. */
function firstBadByte(bytes: Uint8Array): number {
  const again = Buffer.from(Buffer.from(bytes).toString("utf8"));
  let at = 0;
  while (at < bytes.length && bytes[at] === again[at]) at++;
  return at;
}
