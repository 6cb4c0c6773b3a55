/** The README's table of what passes unchanged, made of the cases that the tests run. */
import { cases, columns } from "../peers/fidelity-cases.ts";

const begin = "<!-- fidelity -->";
const end = "<!-- /fidelity -->";

/** Markdown, with a final newline. */
export function fidelityTable(): string {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return (
    row(["case", ...columns.map((column) => (column === "nginx" ? column : `\`${column.replace(" + ", "` + `")}\``))]) +
    row(["---", ...columns.map(() => "---")]) +
    cases.map(({ name, expected }) => row([name, ...columns.map((column) => expected[column])])).join("")
  );
}

/** @returns the text with the table between its markers. @throws when it has no markers */
export function fillFidelity(readme: string): string {
  const from = readme.indexOf(begin);
  const to = readme.indexOf(end);
  if (from < 0 || to < from) {
    throw new Error(`Cannot fill the fidelity table: expected the markers ${begin} and ${end}, found none`);
  }
  return `${readme.slice(0, from)}${begin}\n\n${fidelityTable()}\n${readme.slice(to)}`;
}

// bun test/support/fidelity-table.ts README.md: writes the table into the file.
if (import.meta.main) {
  const [file = "README.md"] = process.argv.slice(2);
  await Bun.write(file, fillFidelity(await Bun.file(file).text()));
}
