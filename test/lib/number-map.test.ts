/** What is open, by number: as a Map has it, whatever comes and goes, and nothing that has left is held. */
import { describe, expect, test } from "bun:test";
import { NumberMap } from "../../src/lib/number-map.ts";
import { newSerial, NumberedSet } from "../../src/lib/numbered-set.ts";
import { randomOf } from "../fuzz/mutate.ts";

describe("a number map", () => {
  for (const step of [1, 2]) {
    test(`holds what a Map holds while numbers go up by ${step}`, () => {
      const random = randomOf(step, 0);
      const map = new NumberMap<string>();
      const model = new Map<number, string>();
      let next = 1;
      for (let turn = 0; turn < 30_000; turn++) {
        // Crowds come and go, so that it grows and shrinks.
        const crowded = Math.sin(turn / 2_000) > 0;
        const kind = random(10);
        const keys = [...model.keys()];
        const some = keys[random(Math.max(1, keys.length))] ?? next;
        if (kind < (crowded ? 6 : 4)) {
          map.set(next, `value ${next}`);
          model.set(next, `value ${next}`);
          next += step;
        } else if (kind < 9 || keys.length === 0) expect(map.delete(some)).toBe(model.delete(some));
        else {
          map.set(some, `again ${turn}`);
          model.set(some, `again ${turn}`);
        }
        expect(map.size).toBe(model.size);
        expect(map.get(some)).toBe(model.get(some));
        expect(map.get(next)).toBeUndefined();
        if (turn % 500 === 0) {
          expect([...map].sort()).toEqual([...model.values()].sort());
          for (const [key, value] of model) expect(map.get(key)).toBe(value);
        }
      }
    });
  }

  test("takes numbers from anywhere, the largest of HTTP/2 too", () => {
    const map = new NumberMap<number>();
    const random = randomOf(3, 0);
    const keys = new Set([0, 2 ** 31 - 1, 2 ** 31 - 3]);
    while (keys.size < 400) keys.add(random(2 ** 31));
    for (const key of keys) map.set(key, key + 1);
    for (const key of keys) expect(map.get(key)).toBe(key + 1);
    for (const key of [...keys].slice(0, 300)) expect(map.delete(key)).toBe(true);
    expect(map.size).toBe(100);
    for (const key of [...keys].slice(300)) expect(map.get(key)).toBe(key + 1);
  });

  test("may change while it is gone through: who has left is not met, nor who came", () => {
    const map = new NumberMap<number>();
    for (let key = 1; key <= 100; key++) map.set(key, key);
    const seen: number[] = [];
    for (const value of map) {
      seen.push(value);
      map.delete(value);
      map.delete(101 - value);
      map.set(value + 1_000, value + 1_000);
    }
    expect(seen.length).toBe(50);
    expect(new Set(seen.map((value) => Math.min(value, 101 - value))).size).toBe(50);
    expect(map.size).toBe(50);
  });

  test("holds nothing that has left, whatever else is in it", async () => {
    const map = new NumberMap<object>();
    map.set(1, {});
    const left = Array.from({ length: 1_000 }, (_, i) => {
      const value = { i };
      map.set(2 + i, value);
      return new WeakRef(value);
    });
    for (let i = 0; i < left.length; i++) map.delete(2 + i);
    await Bun.sleep(0);
    Bun.gc(true);
    // What the stack still names may stay: a table that was just replaced, for one.
    expect(left.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(left.length / 2);
    expect(map.size).toBe(1);
  });
});

test("a numbered set has each member once, and knows the oldest", () => {
  const members = Array.from({ length: 50 }, () => ({ serial: newSerial() }));
  const set = new NumberedSet<{ serial: number }>();
  for (const member of [...members, ...members]) set.add(member);
  expect(set.size).toBe(50);
  expect(set.oldest()).toBe(members[0]!);
  expect(set.delete(members[0]!)).toBe(true);
  expect(set.delete(members[0]!)).toBe(false);
  expect(set.oldest()).toBe(members[1]!);
  for (const member of members.slice(1, 30)) set.delete(member);
  expect(set.oldest()).toBe(members[30]!);
  set.add(members[7]!);
  expect(set.oldest()).toBe(members[7]!);
  for (const member of members) set.delete(member);
  expect(set.oldest()).toBeUndefined();
  for (const member of members.slice(1)) set.add(member);
  expect([...set].sort((a, b) => a.serial - b.serial)).toEqual(members.slice(1));
});
