/** Figures of this process, by the names that every Prometheus client uses; with workers, of all processes together. */
import { readdirSync } from "node:fs";
import { descriptorsMax } from "../../lib/descriptors.ts";
import type { Usage } from "../fleet.ts";
import { counter, gauge, type Family } from "./family.ts";

export interface ProcessFigures {
  readonly openFiles: number;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

/** @param others what the workers use */
export function processFigures(others: Usage): ProcessFigures {
  const { openFiles, residentBytes, cpuSeconds } = ownFigures();
  return {
    openFiles: openFiles + others.openFiles,
    residentBytes: residentBytes + others.residentBytes,
    cpuSeconds: cpuSeconds + others.cpuSeconds,
  };
}

export function ownFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  return { openFiles: openFiles(), residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

export function processFamilies({ openFiles, residentBytes, cpuSeconds }: ProcessFigures): Family[] {
  return [
    counter("process_cpu_seconds_total", "CPU time of user and system", cpuSeconds),
    gauge("process_resident_memory_bytes", "Resident memory", residentBytes),
    gauge("process_open_fds", "Files and sockets that are open", openFiles),
    gauge("process_max_fds", "Files and sockets that one process may have open", descriptorsMax()),
    gauge(
      "process_start_time_seconds",
      "When the process started, in seconds since 1970",
      performance.timeOrigin / 1000,
    ),
  ];
}

/** 0 where there is no /proc, or no file left to look with. */
function openFiles(): number {
  try {
    // The listing itself holds one.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return 0;
  }
}
