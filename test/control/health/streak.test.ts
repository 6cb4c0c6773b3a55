import { describe, expect, test } from "bun:test";
import { Lanes } from "../../../src/control/health/lanes.ts";
import { nextDelayMs, Streak } from "../../../src/control/health/streak.ts";

describe("a target's verdicts in a row", () => {
  const run = (verdicts: string, rise = 2, fall = 3) => {
    const streak = new Streak();
    return [...verdicts].map((v) => (streak.note(v === "+", rise, fall) ? (streak.up ? "U" : "D") : ".")).join("");
  };
  test("the first one counts at once, up or down", () => {
    expect(run("+")).toBe("U");
    expect(run("-")).toBe("D");
  });
  test("`fall` failures take it down, `rise` successes bring it back", () => {
    expect(run("+---")).toBe("U..D");
    expect(run("+---++")).toBe("U..D.U");
    expect(run("-++---")).toBe("D.U..D");
  });
  test("a flapping server changes nothing: every opposite verdict starts the count anew", () => {
    expect(run("+--+--+--+")).toBe("U.........");
    expect(run("-+-+-+-+-")).toBe("D........");
  });
  test("with 1 and 1 every change counts", () => {
    expect(run("+-+-", 1, 1)).toBe("UDUD");
  });
});

describe("the time until the next check", () => {
  const randoms = [0, 0.1, 0.5, 0.9, 0.999999];
  test("is the interval give or take 10 %, counted from the start of the last one", () => {
    for (const random of randoms) {
      expect(nextDelayMs(2_000, 0, false, random)).toBeWithin(1_800, 2_200);
      expect(nextDelayMs(2_000, 500, false, random)).toBeWithin(1_300, 1_700);
    }
  });
  test("is never below a tenth of the interval, however long the last one took", () => {
    for (const random of randoms) expect(nextDelayMs(2_000, 5_000, false, random)).toBe(200);
  });
  test("spreads over the interval after the first check, so that targets that start together part", () => {
    for (const random of randoms) expect(nextDelayMs(2_000, 0, true, random)).toBeWithin(200, 2_000);
    expect(nextDelayMs(2_000, 0, true, 0)).toBe(200);
    expect(nextDelayMs(2_000, 0, true, 0.5)).toBe(1_100);
  });
});

describe("checks in flight", () => {
  const job = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const self = { begun: false, end: resolve, work: () => ((self.begun = true), promise) };
    return self;
  };
  test("are bounded, and the rest follows in order", async () => {
    const lanes = new Lanes(2, 1);
    const jobs = [job(), job(), job(), job()];
    for (const { work } of jobs) lanes.run(false, work);
    expect(jobs.map((j) => j.begun)).toEqual([true, true, false, false]);
    jobs[1]!.end();
    await Bun.sleep(0);
    expect(jobs.map((j) => j.begun)).toEqual([true, true, true, false]);
  });
  test("slow ones leave room for quick ones", () => {
    const lanes = new Lanes(3, 2);
    const slow = [job(), job(), job()];
    for (const { work } of slow) lanes.run(true, work);
    const quick = job();
    lanes.run(false, quick.work);
    expect(slow.map((j) => j.begun)).toEqual([true, true, false]);
    expect(quick.begun).toBe(true);
  });
});
