/** What the admin API says of workers. */
import { expect, test } from "bun:test";
import { noneServes, workersOf } from "../../../src/control/admin/workers.ts";
import type { Fleet, WorkerView } from "../../../src/control/fleet.ts";

const view = (state: WorkerView["state"]): WorkerView => ({
  worker: 1,
  pid: 7,
  state,
  version: "v",
  sinceMs: 0,
  restarts: 2,
  open: 3,
  residentBytes: 4,
});
const fleetOf = (...states: WorkerView["state"][]) => ({ workers: states.map(view) }) as unknown as Fleet;

test("a proxy is not ready while none of its workers serves", () => {
  expect(noneServes(fleetOf())).toBeUndefined();
  expect(noneServes(fleetOf("waiting", "serving"))).toBeUndefined();
  expect(noneServes(fleetOf("waiting", "starting"))).toBe("no worker serves");
});

test("the status lists workers where there are any", () => {
  expect(workersOf(fleetOf())).toEqual({});
  const listed = {
    worker: 1,
    pid: 7,
    state: "serving",
    version: "v",
    since: "1970-01-01T00:00:00.000Z",
    restarts: 2,
    requests_open: 3,
    resident_bytes: 4,
  };
  expect(workersOf(fleetOf("serving"))).toEqual({ workers: [listed] });
});
