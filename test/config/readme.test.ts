/** The key tables of the README say what the parser does. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fillTables } from "../../src/data/routing/tables.ts";

test("the README's key tables are those of this release [B26]", () => {
  const readme = readFileSync(join(import.meta.dir, "../../README.md"), "utf8");
  expect(readme).toBe(fillTables(readme));
});

test("a README without its markers is an error that names them", () => {
  expect(() => fillTables("# Aralez\n")).toThrow(
    'Cannot fill the key table "main": expected the markers <!-- keys:main --> and <!-- /keys:main -->, found none',
  );
});
