/** Every compatibility anchor of this release has a named test: its label stands in brackets in the test's name. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

const points = [
  "1",
  "2",
  "3",
  "4",
  "5",
  "6",
  "7",
  "8",
  "9",
  "10",
  "11",
  "12",
  "13",
  "14",
  "15",
  "16",
  "17",
  "18",
  "19",
  "20",
  "21",
  "22",
  "23",
  "24",
  "25",
  "26",
  "27",
  "28",
  "29",
  "30",
];
const findings = [
  "A1",
  "A2",
  "A3",
  "A4",
  "A5",
  "A6",
  "A7",
  "A8",
  "B1",
  "B2",
  "B3",
  "B4",
  "B5",
  "B6",
  "B7",
  "B8",
  "B9",
  "B10",
  "B11",
  "B12",
  "B13",
  "B14",
  "B15",
  "B16",
  "B17",
  "B18",
  "B19",
  "B20",
  "B21",
  "B22",
  "B24",
  "B23",
  "B25",
  "B26",
];

const titles = [...new Bun.Glob("**/*.ts").scanSync(import.meta.dir)]
  .filter((file) => file !== "anchors.test.ts" && (file.endsWith(".test.ts") || file.startsWith("attack/")))
  .flatMap((file) =>
    readFileSync(`${import.meta.dir}/${file}`, "utf8")
      .split("\n")
      .filter((line) => /^\s*(describe|test)\(/.test(line)),
  );

for (const anchor of [...points, ...findings]) {
  test(`${anchor} is held by a named test`, () =>
    expect(titles.filter((title) => title.includes(`[${anchor}]`))).not.toEqual([]));
}
