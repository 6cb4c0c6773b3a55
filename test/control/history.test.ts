/** What is remembered of rules, and how much. */
import { expect, test } from "bun:test";
import { History, type Version } from "../../src/control/history.ts";
import { ruleHistoryCharsMax, ruleHistoryMax } from "../../src/lib/limits.ts";

const entry = (version: string, text = "x", changes = "~1 route"): Version => ({
  version,
  origin: "push",
  timeMs: 0,
  changes,
  sources: { main: { file: "pushed", text }, confd: [] },
});
const versions = (history: History) => history.list().map(({ version }) => version);

test("the newest come first, and so many stay", () => {
  const history = new History();
  for (let i = 0; i < ruleHistoryMax + 3; i++) history.add(entry(String(i)));
  expect(versions(history)).toHaveLength(ruleHistoryMax);
  expect(versions(history)[0]).toBe(String(ruleHistoryMax + 2));
  expect(history.find("0")).toBeUndefined();
  expect(history.find(undefined)?.version).toBe(String(ruleHistoryMax + 1));
});

test("the same rules again are no new version, but their text is the latest", () => {
  const history = new History();
  history.add(entry("a", "old", "+1 host"));
  history.add(entry("a", "new", "nothing"));
  expect(history.list()).toMatchObject([{ version: "a", changes: "+1 host", sources: { main: { text: "new" } } }]);
});

test("their texts together are bounded; the one in force stays, whatever its size", () => {
  const history = new History();
  const half = "x".repeat(ruleHistoryCharsMax / 2);
  for (const name of ["a", "b", "c"]) history.add(entry(name, half));
  expect(versions(history)).toEqual(["c", "b"]);
  history.add(entry("d", half + half + half));
  expect(versions(history)).toEqual(["d"]);
});
