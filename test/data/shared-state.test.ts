/** What workers count together is exact, whoever of them is killed in between. Each worker here is a process. */
import { afterEach, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SharedState } from "../../src/data/shared-state.ts";
import { Ledger } from "../../src/data/upstream/ledger.ts";
import { sharedTurnsMax } from "../../src/lib/limits.ts";
import { clientOf, scope, uptimeMs, type Errand } from "../support/shared-worker.ts";

const program = join(import.meta.dir, "../support/shared-worker.ts");

interface Worker {
  ask<T>(errand: Errand): Promise<T>;
  kill(): Promise<void>;
  readonly exited: Promise<number>;
}

const open: { close(): void }[] = [];
const children = new Set<Bun.Subprocess>();

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await Promise.all([...children].map((child) => child.exited));
  children.clear();
  for (const state of open.splice(0)) state.close();
});

function supervise(workers: number): SharedState {
  const state = SharedState.create({ workers });
  open.push(state);
  return state;
}

async function start(state: SharedState, lane: number): Promise<Worker> {
  let answered = Promise.withResolvers<unknown>();
  const child = Bun.spawn([process.execPath, program, String(lane)], {
    stdio: ["ignore", "inherit", "inherit", state.descriptor],
    serialization: "advanced",
    ipc: (message) => answered.resolve(message),
  });
  children.add(child);
  void child.exited.then(() => answered.reject(new Error("the worker has ended")));
  await answered.promise;
  return {
    ask<T>(errand: Errand): Promise<T> {
      answered = Promise.withResolvers();
      // Who is to be killed is not listened to.
      answered.promise.catch(() => {});
      child.send(errand);
      return answered.promise as Promise<T>;
    },
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
    exited: child.exited,
  };
}

function startAll(state: SharedState, workers: number): Promise<Worker[]> {
  return Promise.all(Array.from({ length: workers }, (_, lane) => start(state, lane)));
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);

/** A descriptor that may be closed by whoever gets it. */
function again(state: SharedState): number {
  return openSync(`/proc/self/fd/${state.descriptor}`, "r+");
}

describe("a window", () => {
  test("counts each event of four workers once: together they are told every number up to the sum", async () => {
    const workers = await startAll(supervise(4), 4);
    const errand: Errand = { do: "add", client: 1, times: 50_000, uptimeMs: uptimeMs() };
    const told = (await Promise.all(workers.map((worker) => worker.ask<number[]>(errand)))).flat();
    expect(told.sort((a, b) => a - b)).toEqual(Array.from({ length: 200_000 }, (_, i) => i + 1));
  });

  test("of `rate_limit: 100` lets 100 requests of four workers in, and so does each one after it", async () => {
    const workers = await startAll(supervise(4), 4);
    const errand: Errand = { do: "add for", client: 1, ms: 3_500 };
    const start = performance.now();
    const told = await Promise.all(workers.map((worker) => worker.ask<number[]>(errand)));
    const times = (count: number) => sum(told.map((counts) => counts[count] ?? 0));
    const windows = times(1);
    expect(windows).toBeGreaterThan(1);
    expect(windows).toBeLessThanOrEqual((performance.now() - start) / 980 + 1);
    // No number is told twice in a window and none is left out, so the first hundred are a hundred requests.
    const last = Array.from({ length: 100 }, (_, i) => times(i + 1));
    expect(Math.max(...last)).toBe(windows);
    expect(Math.min(...last)).toBeGreaterThanOrEqual(windows - 1);
    expect(last).toEqual([...last].sort((a, b) => b - a));
  });

  test("that one worker began is known to the others, with the time that is left", async () => {
    const state = supervise(1);
    const [worker] = await startAll(state, 1);
    // Half a second ahead, so that it cannot have ended when the answer is there.
    const begin = uptimeMs() + 500;
    expect(await worker!.ask<number[]>({ do: "add", client: 1, times: 3, uptimeMs: begin })).toEqual([1, 2, 3]);
    const nowMs = performance.now();
    expect(state.windows.count(scope, clientOf(1), nowMs)).toBe(3);
    expect(state.windows.leftMs(scope, clientOf(1), nowMs)).toBeGreaterThan(0);
    expect(state.windows.leftMs(scope, clientOf(1), nowMs)).toBeLessThanOrEqual(1_000);
    expect(state.windows.add(scope, clientOf(1), nowMs + 1_530)).toBe(1);
  });

  test("of a client that is being limited survives a million others, which find the table full", () => {
    const { windows } = supervise(1);
    for (let i = 0; i < 50; i++) windows.add(scope, clientOf(0), 0);
    for (let i = 1; i <= 1_000_000; i++) windows.add(scope, clientOf(i), 1);
    expect(windows.count(scope, clientOf(0), 2)).toBe(50);
    expect(windows.count(scope, clientOf(1_000_000), 2)).toBe(1);
  });
});

describe("requests in flight", () => {
  test("are let in up to the bound over four workers, and leave from where they came in", async () => {
    const workers = await startAll(supervise(4), 4);
    const enter: Errand = { do: "enter", client: 1, times: 1_000, most: 500 };
    const entered = await Promise.all(workers.map((worker) => worker.ask<number>(enter)));
    expect(sum(entered)).toBe(500);
    for (const [i, worker] of workers.entries())
      await worker.ask({ do: "leave", client: 1, times: Math.max(0, entered[i]! - 1) });
    const left = entered.filter((n) => n > 0).length;
    expect(await workers[0]!.ask<number>(enter)).toBe(500 - left);
  });

  test("come and go in four workers without any being left over", async () => {
    const state = supervise(4);
    const workers = await startAll(state, 4);
    const errand: Errand = { do: "enter and leave", clients: 7, times: 70_000, most: 4 };
    const passed = await Promise.all(workers.map((worker) => worker.ask<number>(errand)));
    expect(passed).toEqual([70_000, 70_000, 70_000, 70_000]);
    for (let i = 0; i < 7; i++) {
      expect(state.inFlight.enter(scope, clientOf(i), 1)).toBe(true);
      expect(state.inFlight.enter(scope, clientOf(i), 1)).toBe(false);
    }
  });

  test("of a killed worker are given back, and no others", async () => {
    const state = supervise(2);
    const [killed, other] = await startAll(state, 2);
    expect(await killed!.ask<number>({ do: "enter", client: 1, times: 7, most: 10 })).toBe(7);
    expect(await other!.ask<number>({ do: "enter", client: 1, times: 7, most: 10 })).toBe(3);
    await killed!.kill();
    expect(await other!.ask<number>({ do: "enter", client: 1, times: 1, most: 10 })).toBe(0);
    state.release(0);
    const next = await start(state, 0);
    expect(await next.ask<number>({ do: "enter", client: 1, times: 10, most: 10 })).toBe(7);
  });

  test("of more clients than there is room for are bounded too", () => {
    const { inFlight } = supervise(1);
    const clients = 100_000;
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < clients; i++)
        if (!inFlight.enter(scope, clientOf(i), 1)) throw new Error(`client ${i} was not let in`);
      for (let i = 0; i < clients; i++)
        if (inFlight.enter(scope, clientOf(i), 1)) throw new Error(`client ${i} was let in twice`);
      for (let i = 0; i < clients; i++) inFlight.leave(scope, clientOf(i));
    }
  });
});

describe("round robin", () => {
  test("goes round exactly over four workers, by weight", async () => {
    const workers = await startAll(supervise(4), 4);
    const errand: Errand = { do: "pick", weights: [2, 1, 1], times: 20_001 };
    const picked = await Promise.all(workers.map((worker) => worker.ask<number[]>(errand)));
    expect([0, 1, 2].map((i) => sum(picked.map((counts) => counts[i]!)))).toEqual([40_002, 20_001, 20_001]);
  });

  test("has a turn for each pool, which is free again when nobody uses it", () => {
    const state = supervise(40);
    const far = SharedState.attach(again(state), 37);
    expect(far.turns.turn("a.test/")!.advance(0, 2)).toBe(true);
    expect(state.turns.turn("a.test/")!.next).toBe(2);
    expect(state.turns.turn("b.test/")!.next).toBe(0);
    far.turns.forget("a.test/");
    expect(state.turns.turn("a.test/")!.next).toBe(2);
    state.turns.forget("a.test/");
    expect(far.turns.turn("a.test/")!.next).toBe(0);
    far.turns.turn("a.test/")!.advance(0, 1);
    // Its worker is gone without a word.
    state.release(37);
    expect(state.turns.turn("a.test/")!.next).toBe(0);
  });

  test("of more pools than there is room for goes on in each worker by itself", () => {
    const { turns } = supervise(1);
    const keys = Array.from({ length: 2 * sharedTurnsMax }, (_, i) => `${i}.test/`);
    const ledger = new Ledger(turns);
    for (const key of keys) expect(ledger.turn(key).advance(0, 1)).toBe(true);
    expect(keys.filter((key) => turns.turn(key) === undefined).length).toBeGreaterThan(sharedTurnsMax / 2);
    expect(keys.every((key) => ledger.turn(key).next === 1)).toBe(true);
    // A new table names none of them.
    ledger.sweep(new Set(), new Set());
    expect(keys.slice(0, 1_000).every((key) => turns.turn(key)?.next === 0)).toBe(true);
  }, 60_000);
});

describe("kill -9", () => {
  test("in the middle of everything leaves no lock behind, twenty times", async () => {
    const state = supervise(4);
    const workers = await startAll(state, 4);
    for (const worker of workers) void worker.ask({ do: "until killed", clients: 3 });
    for (let i = 0; i < 20; i++) {
      const lane = i % 4;
      await workers[lane]!.kill();
      state.release(lane);
      const next = (workers[lane] = await start(state, lane));
      if (i < 16) void next.ask({ do: "until killed", clients: 3 });
    }
    // The last four have counted nothing yet.
    for (let client = 0; client < 3; client++)
      expect(await workers[client]!.ask<number>({ do: "enter", client, times: 9, most: 8 })).toBe(8);
    const told = await workers[3]!.ask<number[]>({ do: "add", client: 9, times: 5, uptimeMs: uptimeMs() });
    expect(told).toEqual([1, 2, 3, 4, 5]);
    expect(state.turns.turn("0")!.next).toBe(0);
  }, 60_000);

  test("at each point between a lock and its release leaves what others have counted", async () => {
    const state = supervise(2);
    const other = await start(state, 1);
    const enter: Errand = { do: "enter", client: 7, times: 20, most: 10 };
    let moment = uptimeMs();
    const add = () => other.ask<number[]>({ do: "add", client: 7, times: 3, uptimeMs: moment });
    for (const what of ["add", "enter", "leave"] as const) {
      for (let reads = 1; ; reads++) {
        moment += 2_000;
        expect(await add()).toEqual([1, 2, 3]);
        const dying = await start(state, 0);
        const end = await dying
          .ask<number>({ do: "die in", what, client: 7, reads, uptimeMs: moment })
          .catch(() => "killed");
        await dying.kill();
        if (end !== "killed") {
          // The key is not read so often: all points are done.
          expect(reads).toBeGreaterThan(2);
          state.release(0);
          break;
        }
        state.release(0);
        const told = await add();
        expect([3, 4]).toContain(told[0]! - 1);
        expect(told).toEqual([told[0]!, told[0]! + 1, told[0]! + 2]);
        expect(await other.ask<number>(enter)).toBe(10);
        await other.ask({ do: "leave", client: 7, times: 10 });
      }
    }
  }, 120_000);

  test("while it holds a lock is got over even when nobody releases its lane", async () => {
    const state = supervise(2);
    const other = await start(state, 1);
    const dying = await start(state, 0);
    void dying.ask({ do: "die in", what: "enter", client: 7, reads: 2, uptimeMs: 0 });
    await dying.exited;
    expect(await other.ask<number>({ do: "enter", client: 7, times: 20, most: 10 })).toBe(10);
  });

  test("leaves no file behind: there is none with a name", () => {
    const state = supervise(1);
    expect(readlinkSync(`/proc/self/fd/${state.descriptor}`)).toContain(" (deleted)");
    for (const folder of ["/dev/shm", tmpdir()])
      expect(readdirSync(folder).filter((name) => /^aralez-[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name))).toEqual([]);
  });
});

describe("the memory", () => {
  test("is made where there is room, else it is said what is wrong", () => {
    const folder = mkdtempSync(join(tmpdir(), "aralez-shared-test-"));
    try {
      const state = SharedState.create({ workers: 1, folders: [join(folder, "missing"), folder] });
      open.push(state);
      expect(readdirSync(folder)).toEqual([]);
      expect(() => SharedState.create({ workers: 1, folders: [join(folder, "missing")] })).toThrow(
        /^Cannot make [\d.]+ MiB of memory that processes share: \/.*\/missing: no such file or socket$/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("of another version of the program is refused", () => {
    const state = supervise(3);
    const header = new Int32Array(Bun.mmap(`/proc/self/fd/${state.descriptor}`, { shared: true }).buffer, 0, 8);
    for (const [word, found] of [
      [1, /expected layout 1 with parts of .*, found layout 2 with parts of .*was the program replaced/],
      [3, /with parts of 4194304, .* words, found layout 1 with parts of 4194305, /],
      [0, /found \d+ bytes of something else/],
    ] as const) {
      header[word]!++;
      expect(() => SharedState.attach(again(state), 0)).toThrow(found);
      header[word]!--;
    }
    for (const lane of [-1, 3])
      expect(() => SharedState.attach(again(state), lane)).toThrow(`expected a lane below 3, found ${lane}`);
    expect(SharedState.attach(again(state), 2).turns.turn("a.test/")!.next).toBe(0);
  });

  test("is nothing but what the supervisor made", () => {
    const folder = mkdtempSync(join(tmpdir(), "aralez-shared-test-"));
    try {
      for (const text of ["", "something else", "x".repeat(100_000)]) {
        const name = join(folder, "file");
        writeFileSync(name, text);
        expect(() => SharedState.attach(openSync(name, "r+"), 0)).toThrow(/^Cannot (attach|map)/);
      }
      const closed = openSync(folder, "r");
      closeSync(closed);
      expect(() => SharedState.attach(closed, 0)).toThrow(/^Cannot map shared memory from descriptor \d+: /);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
