/** Refusals are counted under names that no client chooses. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { kindOfBadRequest, Refusals, refusalReasons } from "../../../src/data/observe/refusals.ts";

test("each reason has a number of its own, from the start", () => {
  const refusals = new Refusals();
  refusals.count("host");
  refusals.count("host");
  refusals.count("too_many_files");
  expect(refusals.of("host")).toBe(2);
  const seen: [string, number][] = [];
  refusals.each((reason, count) => void seen.push([reason, count]));
  expect(seen.map(([reason]) => reason)).toEqual([...refusalReasons]);
  expect(seen.filter(([, count]) => count > 0)).toEqual([
    ["host", 2],
    ["too_many_files", 1],
  ]);
});

/** Every constant text that a request head is refused with. */
function textsOf(file: string): [number, string][] {
  const source = readFileSync(join(import.meta.dir, "../../../src/data", file), "utf8");
  const refused = [...source.matchAll(/refuse\((\d{3}), "([^"]+)"\)/g)].map(
    ([, status, text]) => [Number(status), text!] as [number, string],
  );
  const problems = [...source.matchAll(/\? "([^"]+)" : "([^"]+)";|return "([^"]+)";/g)]
    .flatMap(([, ...texts]) => texts)
    .flatMap((text) => (text?.includes(" ") ? [[400, text] as [number, string]] : []));
  return [...refused, ...problems];
}

test("no refusal of a request head is without a kind: `other` is for what is not written yet", () => {
  const texts = ["wire/request-head.ts", "wire/head-bytes.ts", "wire/request-target.ts", "listen/http1.ts"].flatMap(
    textsOf,
  );
  expect(texts.length).toBeGreaterThan(30);
  expect(texts.filter(([status, text]) => kindOfBadRequest(status, text) === "other")).toEqual([]);
  expect(kindOfBadRequest(400, "something new")).toBe("other");
});
