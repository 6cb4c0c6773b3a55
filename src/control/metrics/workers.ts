/** What the metrics say of the workers. */
import type { WorkerView } from "../fleet.ts";
import { counter, gauge, type Family } from "./family.ts";

/** @param workers none where one process does everything */
export function workerFamilies(workers: readonly WorkerView[]): Family[] {
  const each = (value: (view: WorkerView) => number) =>
    workers.map((view) => [{ worker: String(view.worker) }, value(view)] as const);
  return [
    gauge(
      "aralez_worker_up",
      "1 = the worker serves, 0 = it is starting, or about to be started again",
      each(({ state }) => (state === "serving" ? 1 : 0)),
    ),
    counter(
      "aralez_worker_restarts_total",
      "Times that a worker was replaced because it had ended or hung",
      each(({ restarts }) => restarts),
    ),
    gauge(
      "aralez_worker_resident_memory_bytes",
      "Resident memory of a worker",
      each(({ residentBytes }) => residentBytes),
    ),
    gauge(
      "aralez_worker_requests_in_flight",
      "Requests, WebSockets and tunnels under way in a worker",
      each(({ open }) => open),
    ),
  ];
}
