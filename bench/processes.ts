/** Processes of the benchmark: started on one core, measured through /proc, always stopped by their own ids. */
import { readdirSync, readFileSync } from "node:fs";

const stopWaitMs = 5_000;

export interface Child {
  readonly pid: number;
  /** why it is not running any more, or undefined */
  readonly ended: string | undefined;
  stop(): Promise<void>;
}

export interface StartOptions {
  /** the only cores it may use, as taskset lists them */
  readonly cores: string;
  readonly cwd: string;
  /** file for its stdout and stderr */
  readonly output: string;
}

/** Open files that any program here may need: 5,000 clients and as many connections to the origin, with room. */
const descriptorsWanted = 65_536;

/**
 * What stands before a command: the cores it may use, as many open files as we may give, and a signal for the case that
 * the benchmark itself is killed. The wrappers replace themselves, so the id is the program's own.
 */
export function pinned(cores: string, signal: "TERM" | "KILL"): string[] {
  const files = Math.min(hardFileLimit(), descriptorsWanted);
  return ["setpriv", "--pdeathsig", signal, "prlimit", `--nofile=${files}:${files}`, "taskset", "-c", cores];
}

/** RLIMIT_NOFILE's hard limit of this process; Infinity when there is none. */
function hardFileLimit(): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  return hard === "unlimited" || hard === undefined ? Infinity : Number(hard);
}

/** Starts a program on some cores. */
export function startOn(command: readonly string[], { cores, cwd, output }: StartOptions): Child {
  const child = Bun.spawn([...pinned(cores, "TERM"), ...command], {
    cwd,
    env: environment(),
    stdin: "ignore",
    stdout: Bun.file(output),
    stderr: Bun.file(output),
  });
  return {
    pid: child.pid,
    get ended() {
      if (child.signalCode !== null) return String(child.signalCode);
      return child.exitCode === null ? undefined : `exit code ${child.exitCode}`;
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const family = tree(child.pid);
      child.kill("SIGTERM");
      if (await within(child.exited, stopWaitMs)) return;
      for (const pid of family) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It has gone by itself.
        }
      }
      await child.exited;
    },
  };
}

/** What the measured programs see of ours: no settings of Bun or of a proxy that happen to be set in this shell. */
export function environment(): Record<string, string> {
  const { PATH = "", HOME = "/", TMPDIR } = process.env;
  return { PATH: `${PATH}:/usr/sbin`, HOME, ...(TMPDIR && { TMPDIR }) };
}

async function within(promise: Promise<unknown>, waitMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(resolve, waitMs, false)));
  const done = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return done;
}

/** A process and all its descendants, the root first; threads belong to their process. */
export function tree(pid: number): number[] {
  const found = [pid];
  for (const parent of found) found.push(...childrenOf(parent));
  return found;
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean).map(Number),
    );
  } catch {
    return []; // It ended while we looked.
  }
}

/** Clock ticks of `utime` and `stime` a second: a constant of the Linux ABI (`getconf CLK_TCK`). */
const ticksPerSecond = 100;

/** CPU time of a process tree so far, user and system, in seconds; children that have ended are included. */
export function cpuSeconds(pid: number): { user: number; system: number } {
  let user = 0;
  let system = 0;
  for (const member of tree(pid)) {
    const times = readTimes(member);
    user += times.user;
    system += times.system;
  }
  return { user: user / ticksPerSecond, system: system / ticksPerSecond };
}

function readTimes(pid: number): { user: number; system: number } {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return { user: 0, system: 0 };
  }
}

/** proc_pid_stat(5): utime, stime, cutime, cstime are fields 14 to 17; the name in field 2 may hold anything. */
export function parseStat(stat: string): { user: number; system: number } {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const at = (field: number) => Number(fields[field - 3]);
  return { user: at(14) + at(16), system: at(15) + at(17) };
}

/** Resident memory of a process tree in bytes; pages that its processes share count once for each. */
export function residentBytes(pid: number): number {
  let kib = 0;
  for (const member of tree(pid)) {
    try {
      kib += Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${member}/status`, "latin1"))?.[1] ?? 0);
    } catch {
      // It ended while we looked.
    }
  }
  return kib * 1024;
}

/** The cores to use, as taskset lists them. */
export interface Cores {
  readonly proxy: string;
  readonly load: string;
  readonly origin: string;
}

/** @throws Error when this process may use fewer than two */
export function cores(workers = 1): Cores {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? "";
  const allowed = list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  if (allowed.length < 2)
    throw new Error(
      `Cannot keep the load off the proxy's core: this process may use the cores "${list}", expected two`,
    );
  return shareCores(allowed, workers);
}

/**
 * A proxy has as many cores to itself as it has workers. The origin shares the load's unless there is one more; where there
 * is none left for the load, all three share all of them.
 */
export function shareCores(allowed: readonly number[], workers: number): Cores {
  const all = allowed.join();
  if (allowed.length <= workers) return { proxy: all, load: all, origin: all };
  const [load, ...rest] = allowed;
  return { proxy: rest.slice(0, workers).join(), load: String(load), origin: String(rest[workers] ?? load) };
}
