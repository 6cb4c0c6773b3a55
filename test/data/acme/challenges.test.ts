/** Tokens of pending orders: ours, and those of replicas. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Challenges, isToken } from "../../../src/data/acme/challenges.ts";
import { temporary } from "../../support/certificates.ts";

const token = "t".repeat(43);
const answer = `${token}.${"k".repeat(43)}`;

test("ours are found at once and gone when the order ends", async () => {
  const challenges = new Challenges(() => "/nowhere");
  challenges.add(token, answer);
  expect(challenges.find(token)).toBe(answer);
  challenges.remove(token);
  expect(await challenges.find(token)).toBeUndefined();
});

test("a replica's are read from the folder, if they are what they should be", async () => {
  using folder = temporary();
  const challenges = new Challenges(() => folder.path);
  const other = "u".repeat(43);
  const put = (text: string) => writeFileSync(join(folder.path, other), text);
  expect(await challenges.find(other)).toBeUndefined();
  put(`${other}.${"k".repeat(43)}\n`);
  expect(await challenges.find(other)).toBe(`${other}.${"k".repeat(43)}`);
  for (const wrong of [
    "",
    answer,
    `${other}.`,
    `${other}.${"k".repeat(44)}`,
    `${other}.${"<".repeat(43)}`,
    "x".repeat(5_000),
  ]) {
    put(wrong);
    expect(await challenges.find(other)).toBeUndefined();
  }
});

test("looks into the folder are bounded: what comes above it is no token", async () => {
  using folder = temporary();
  mkdirSync(join(folder.path, "challenges"));
  const challenges = new Challenges(() => join(folder.path, "challenges"));
  const looks = Array.from({ length: 200 }, (_, i) => challenges.find(`${i}`.padStart(43, "z")));
  expect(looks.filter((look) => look instanceof Promise).length).toBe(64);
  expect(await Promise.all(looks)).toEqual(looks.map(() => undefined));
  expect(challenges.find(token)).toBeInstanceOf(Promise);
});

test("a token is never a path", () => {
  expect(isToken(token)).toBe(true);
  const others = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "short",
    "a".repeat(129),
    "%2e%2e",
    `${token}?`,
    `${token}\0`,
    "é".repeat(30),
  ];
  expect(others.filter(isToken)).toEqual([]);
});
