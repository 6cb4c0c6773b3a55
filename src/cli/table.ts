/** Tables for people: columns as wide as their widest cell, nothing that steers a terminal. */
import { visible } from "../config/problem.ts";

/** @returns one line for each row; the last column as it is */
export function table(rows: readonly (readonly string[])[]): string[] {
  const shown = rows.map((row) => row.map(visible));
  const widths = shown[0]!.map((_, column) => Math.max(...shown.map((row) => row[column]!.length)));
  return shown.map((row) => row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]!) : cell)).join("  "));
}
