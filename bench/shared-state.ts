/**
 * What counting together costs: CPU time in nanoseconds of one operation, in a process by itself and in memory that 1, 2
 * and 4 share.
 * `bun bench/shared-state.ts [ROUNDS]`; the median of so many.
 */
import { InFlightMap, type InFlight } from "../src/data/guards/limits/in-flight.ts";
import { WindowTable, type Windows } from "../src/data/guards/limits/windows.ts";
import { SharedState } from "../src/data/shared-state.ts";
import { Endpoint, Health } from "../src/data/upstream/endpoint.ts";
import { Pool, type Member } from "../src/data/upstream/pool.ts";
import { LocalTurn, type Turn } from "../src/data/upstream/turn.ts";
import { limitWindowMs } from "../src/lib/limits.ts";

const scope = { high: 1, low: 2 };
const times = 1_000_000;

interface Parts {
  readonly windows: Windows;
  readonly inFlight: InFlight;
  readonly turn: Turn;
}

/** Each with the client number of its process, or 0 where all count the same one. */
const operations: Record<string, (parts: Parts, client: number) => () => void> = {
  "a window's event": ({ windows }, low) => {
    const client = { high: 3, low };
    const now = performance.now();
    return () => windows.add(scope, client, now);
  },
  "enter and leave": ({ inFlight }, low) => {
    const client = { high: 3, low };
    return () => {
      inFlight.enter(scope, client, 1_000);
      inFlight.leave(scope, client);
    };
  },
  "a pool's pick": ({ turn }) => {
    const pool = new Pool([1, 2, 3].map(memberOf), turn);
    return () => pool.pick(0, []);
  },
};

function memberOf(port: number): Member {
  const endpoint = new Endpoint({ host: "127.0.0.1", port });
  const health = new Health(endpoint, undefined, { maxFails: 0, failMs: 0 });
  return { endpoint, health, healthKey: endpoint.name, weight: 1, protocol: "http", stickyId: "" };
}

function measure(operation: () => void): number {
  for (let i = 0; i < times / 5; i++) operation();
  const start = process.cpuUsage();
  for (let i = 0; i < times; i++) operation();
  const { user, system } = process.cpuUsage(start);
  return ((user + system) * 1000) / times;
}

interface Question {
  readonly name: string;
  readonly client: number;
}

async function askAll(processes: number, name: string, same: boolean, alone = false): Promise<number[]> {
  const state = SharedState.create({ workers: processes });
  const children = Array.from({ length: processes }, (_, lane) => {
    const ready = Promise.withResolvers<void>();
    const told = Promise.withResolvers<number>();
    const child = Bun.spawn([process.execPath, import.meta.path, alone ? "--alone" : "--lane", String(lane)], {
      stdio: ["ignore", "inherit", "inherit", state.descriptor],
      ipc: (message) => (message === "ready" ? ready.resolve() : told.resolve(message as number)),
    });
    return { child, ready: ready.promise, told: told.promise };
  });
  await Promise.all(children.map(({ ready }) => ready));
  children.forEach(({ child }, i) => child.send({ name, client: same ? 0 : i + 1 } satisfies Question));
  const figures = await Promise.all(children.map(({ told }) => told));
  for (const { child } of children) child.disconnect();
  await Promise.all(children.map(({ child }) => child.exited));
  state.close();
  return figures;
}

function median(figures: number[]): string {
  return figures.sort((a, b) => a - b)[figures.length >> 1]!.toFixed(0);
}

const [mode = "5", lane] = process.argv.slice(2);
if (mode.startsWith("--")) {
  const parts = mode === "--alone" ? own() : shared(Number(lane));
  process.on("message", ({ name, client }: Question) => process.send!(measure(operations[name]!(parts, client))));
  process.send!("ready");
} else {
  console.log(
    "ns per operation | by itself | shared by 1 | 2, own clients | 2, the same | 4, own clients | 4, the same",
  );
  for (const name of Object.keys(operations)) {
    const cells: string[] = [];
    for (const [processes, same, alone] of [
      [1, true, true],
      [1, true],
      [2, false],
      [2, true],
      [4, false],
      [4, true],
    ] as const) {
      const figures: number[] = [];
      for (let round = 0; round < Number(mode); round++) figures.push(...(await askAll(processes, name, same, alone)));
      cells.push(median(figures));
    }
    console.log([name, ...cells].join(" | "));
  }
}

function own(): Parts {
  return { windows: new WindowTable(limitWindowMs), inFlight: new InFlightMap(), turn: new LocalTurn() };
}

function shared(lane: number): Parts {
  const { windows, inFlight, turns } = SharedState.attach(3, lane);
  return { windows, inFlight, turn: turns.turn("a.test/")! };
}
