/** A gate lets a few jobs run, bounds those that wait, and lets no caller take the room of all. */
import { expect, test } from "bun:test";
import { Gate, GateFull } from "../../src/lib/gate.ts";

/** A job that ends when it is told to. */
function job() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const self = { begun: false, run: () => ((self.begun = true), promise), resolve, reject };
  return self;
}

test("only so many jobs run at once; the next one begins when one has ended, in order", async () => {
  const gate = new Gate(2, 10, 10);
  const jobs = [job(), job(), job(), job()];
  const runs = jobs.map((one, i) => gate.run(`caller ${i}`, one.run));
  expect(jobs.map(({ begun }) => begun)).toEqual([true, true, false, false]);
  jobs[1]!.resolve("b");
  expect(await runs[1]).toBe("b");
  expect(jobs.map(({ begun }) => begun)).toEqual([true, true, true, false]);
  for (const one of jobs) one.resolve("x");
  expect(await Promise.all(runs)).toEqual(["x", "b", "x", "x"]);
});

test("whoever finds the queue full is turned away, and it is not full for ever", async () => {
  const gate = new Gate(1, 1, 10);
  const [running, waiting] = [job(), job()];
  const runs = [gate.run("a", running.run), gate.run("b", waiting.run)];
  expect(gate.run("c", job().run)).rejects.toBeInstanceOf(GateFull);
  running.resolve("");
  waiting.resolve("");
  await Promise.all(runs);
  expect(await gate.run("c", async () => "in")).toBe("in");
});

test("one caller has only so many, and others still get in", async () => {
  const gate = new Gate(1, 10, 2);
  const jobs = [job(), job(), job()];
  const runs = [gate.run("greedy", jobs[0]!.run), gate.run("greedy", jobs[1]!.run)];
  expect(gate.run("greedy", job().run)).rejects.toBeInstanceOf(GateFull);
  runs.push(gate.run("modest", jobs[2]!.run));
  for (const one of jobs) one.resolve("");
  expect(await Promise.all(runs)).toEqual(["", "", ""]);
  expect(await gate.run("greedy", async () => "again")).toBe("again");
});

test("a job that fails gives its place back, and its error to whoever asked", async () => {
  const gate = new Gate(1, 1, 1);
  for (let i = 0; i < 3; i++) {
    const error = await gate.run("a", () => Promise.reject(new Error("broken"))).catch((caught: unknown) => caught);
    expect((error as Error).message).toBe("broken");
  }
  expect(await gate.run("a", async () => "works")).toBe("works");
});
