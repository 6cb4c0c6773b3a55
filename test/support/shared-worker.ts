/**
 * A process that counts in the memory of its parent (descriptor 3), in the lane of its first argument. It says "ready",
 * does what each message asks and answers with what came of it; "until killed" never answers.
 */
import { readFileSync } from "node:fs";
import type { ClientKey } from "../../src/data/guards/limits/client-key.ts";
import { SharedState } from "../../src/data/shared-state.ts";
import { Endpoint, Health } from "../../src/data/upstream/endpoint.ts";
import { Ledger } from "../../src/data/upstream/ledger.ts";
import { Pool, type Member } from "../../src/data/upstream/pool.ts";

export type Errand =
  /** counts at one moment; answers with the counts that it was told */
  | { do: "add"; client: number; times: number; uptimeMs: number }
  /** counts for so long as time passes; answers with how often it was told each count up to 100 */
  | { do: "add for"; client: number; ms: number }
  /** answers with how many were let in, and keeps them */
  | { do: "enter"; client: number; times: number; most: number }
  | { do: "enter and leave"; clients: number; times: number; most: number }
  | { do: "leave"; client: number; times: number }
  /** answers with how often each member was picked */
  | { do: "pick"; weights: number[]; times: number }
  /** answers with the time of one `add` in nanoseconds */
  | { do: "measure"; client: number; times: number }
  | { do: "until killed"; clients: number }
  /** is killed while it holds the lock of this client, when its key is read for the `reads`-th time */
  | { do: "die in"; what: "add" | "enter" | "leave"; client: number; reads: number; uptimeMs: number };

export const scope = { high: 1, low: 2 };
export const clientOf = (low: number): ClientKey => ({ high: 3, low });
export const uptimeMs = () => Number(readFileSync("/proc/uptime", "utf8").split(" ", 1)[0]) * 1000;

if (import.meta.main) {
  const state = SharedState.attach(3, Number(process.argv[2]));
  process.on("message", (errand: Errand) => process.send!(run(state, errand)));
  process.on("disconnect", () => process.exit());
  process.send!("ready");
}

function run({ windows, inFlight, turns }: SharedState, errand: Errand): unknown {
  switch (errand.do) {
    case "add": {
      const nowMs = ownClock(errand.uptimeMs);
      const client = clientOf(errand.client);
      return Array.from({ length: errand.times }, () => windows.add(scope, client, nowMs));
    }
    case "add for": {
      const client = clientOf(errand.client);
      const end = performance.now() + errand.ms;
      const told: number[] = [];
      for (let now = 0; (now = performance.now()) < end;) {
        const count = windows.add(scope, client, now);
        if (count <= 100) told[count] = (told[count] ?? 0) + 1;
      }
      return Array.from(told, (times) => times ?? 0);
    }
    case "enter": {
      let entered = 0;
      for (let i = 0; i < errand.times; i++) if (inFlight.enter(scope, clientOf(errand.client), errand.most)) entered++;
      return entered;
    }
    case "enter and leave": {
      let most = 0;
      for (let i = 0; i < errand.times; i++) {
        const client = clientOf(i % errand.clients);
        if (!inFlight.enter(scope, client, errand.most)) continue;
        most++;
        inFlight.leave(scope, client);
      }
      return most;
    }
    case "leave":
      for (let i = 0; i < errand.times; i++) inFlight.leave(scope, clientOf(errand.client));
      return errand.times;
    case "pick": {
      const ledger = new Ledger(turns);
      const members = errand.weights.map((weight, i) => memberOf(i, weight));
      const pool = new Pool(members, ledger.turn("a.test/"));
      const picked = errand.weights.map(() => 0);
      for (let i = 0; i < errand.times; i++) picked[members.indexOf(pool.pick(0, [])!)]!++;
      return picked;
    }
    case "measure": {
      const client = clientOf(errand.client);
      const start = performance.now();
      for (let i = 0; i < errand.times; i++) windows.add(scope, client, start);
      return ((performance.now() - start) * 1e6) / errand.times;
    }
    case "until killed":
      for (let i = 0; ; i++) {
        const client = clientOf(i % errand.clients);
        windows.add(scope, client, performance.now());
        if (inFlight.enter(scope, client, 1_000_000) && i % 5 !== 0) inFlight.leave(scope, client);
        turns.turn(`${i % 100}`);
        turns.forget(`${i % 100}`);
      }
    case "die in": {
      let reads = 0;
      const client = {
        high: 3,
        get low() {
          if (++reads === errand.reads) process.kill(process.pid, "SIGKILL");
          return errand.client;
        },
      };
      if (errand.what === "add") windows.add(scope, client, ownClock(errand.uptimeMs));
      else if (errand.what === "enter") inFlight.enter(scope, client, 10);
      else {
        inFlight.enter(scope, clientOf(errand.client), 10);
        inFlight.leave(scope, client);
      }
      return reads;
    }
  }
}

function ownClock(machineMs: number): number {
  return machineMs - (uptimeMs() - performance.now());
}

function memberOf(i: number, weight: number): Member {
  const endpoint = new Endpoint({ host: "127.0.0.1", port: 1 + i });
  const health = new Health(endpoint, undefined, { maxFails: 0, failMs: 0 });
  return { endpoint, health, healthKey: endpoint.name, weight, protocol: "http", stickyId: "" };
}
