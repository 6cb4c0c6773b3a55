/** Files in the shape of every generation of the original load, and mean what stands beside them. UPDATE_GOLDEN=1 writes that. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadSettings } from "../../src/config/load-settings.ts";
import type { Problem } from "../../src/config/problem.ts";
import { loadRules } from "../../src/data/routing/load-rules.ts";

const folder = import.meta.dir;
// Nothing is there: relative names must not depend on the machine that runs the test.
const nowhere = "/nonexistent/aralez";
const settings = loadSettings(
  { file: `${nowhere}/main.yaml`, text: "master_key: 0123456789abcdef0123456789abcdef\n" },
  {},
).settings!;

for (const name of readdirSync(folder).filter((file) => file.endsWith(".yaml"))) {
  test(`${name} loads and means the same as ever`, () => {
    const text = readFileSync(join(folder, name), "utf8");
    const loaded = name.endsWith(".main.yaml") ? settingsOf(text) : rulesOf(name, text);
    expect(loaded.problems.filter((problem) => problem.severity === "error")).toEqual([]);
    const meant = { ...loaded.value, "~told": loaded.problems.map(line) };
    const beside = join(folder, name.replace(/\.yaml$/, ".json"));
    if (process.env.UPDATE_GOLDEN) writeFileSync(beside, compact(meant));
    // As a worker gets them.
    if (!name.endsWith(".main.yaml")) expect(JSON.parse(JSON.stringify(loaded.value))).toEqual(loaded.value);
    expect(JSON.parse(JSON.stringify(meant))).toEqual(JSON.parse(readFileSync(beside, "utf8")));
  });
}

function settingsOf(text: string): { value: object | undefined; problems: Problem[] } {
  const { settings: value, problems } = loadSettings({ file: `${nowhere}/main.yaml`, text }, {});
  return { value, problems };
}

function rulesOf(file: string, text: string): { value: object | undefined; problems: Problem[] } {
  const { rules: value, problems } = loadRules(
    { main: { file, text }, confd: [] },
    { settings, folder: nowhere, env: {} },
  );
  return { value, problems };
}

function line({ line, column, severity, code, message }: Problem): string {
  return `${line}:${column} ${severity} ${code} ${message}`;
}

/** One line for each key, and for each host: short, and still readable in a diff. */
function compact(value: object): string {
  const lines = Object.entries(value).map(([key, inner]) => {
    const nested = key === "upstreams" || key === "~told";
    if (!nested) return `"${key}": ${JSON.stringify(inner)}`;
    const [open, close] = Array.isArray(inner) ? "[]" : "{}";
    const items = Object.entries(inner as object).map(
      ([name, item]) => `  ${open === "{" ? `${JSON.stringify(name)}: ` : ""}${JSON.stringify(item)}`,
    );
    return `"${key}": ${open}\n${items.join(",\n")}\n${close}`;
  });
  return `{\n${lines.join(",\n")}\n}\n`;
}
