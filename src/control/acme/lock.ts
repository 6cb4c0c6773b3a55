/**
 * FolderLock: of several replicas on one state folder one at a time works on orders. A file that its holder touches again
 * and again; who waits judges by its own clock, so that clocks and time stamps of a network folder need not agree.
 */
import {
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
  closeSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { acmeLockBeatMs, acmeLockStaleMs } from "../../lib/limits.ts";

interface Holder {
  readonly id: string;
  readonly host: string;
  /** the machine's boot and the process name space: pids can be compared within the same ones */
  readonly pids: string;
  readonly pid: number;
}

/** locks held by this process */
const ours = new Set<string>();

export class FolderLock {
  #id: string | undefined;
  #beat: NodeJS.Timeout | undefined;
  /** the lock of somebody else as it was seen last, and since when it has been so */
  #seen = { text: "", touchedMs: 0, sinceMs: 0 };

  constructor(readonly file: string) {}

  /** @returns false while somebody else holds it. @throws the error of the file system when nobody can */
  acquire(): boolean {
    if (this.#id !== undefined) return true;
    mkdirSync(dirname(this.file), { recursive: true, mode: 0o700 });
    return this.#create() || (this.#isDead() && this.#bury() && this.#create());
  }

  release(): void {
    if (this.#id === undefined) return;
    clearInterval(this.#beat);
    if (holderIn(readText(this.file))?.id === this.#id) rmSync(this.file, { force: true });
    ours.delete(this.#id);
    this.#id = undefined;
  }

  #create(): boolean {
    const id = crypto.randomUUID();
    try {
      const descriptor = openSync(this.file, "wx", 0o600);
      const holder: Holder = { id, host: hostname(), pids: pidSpace(), pid: process.pid };
      writeSync(descriptor, JSON.stringify(holder));
      closeSync(descriptor);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
    this.#id = id;
    ours.add(id);
    this.#beat = setInterval(() => this.#touch(), acmeLockBeatMs).unref();
    return true;
  }

  #touch(): void {
    try {
      if (holderIn(readText(this.file))?.id === this.#id) utimesSync(this.file, new Date(), new Date());
    } catch {
      // The folder may be away for a moment; a lock that is lost costs a second order at worst.
    }
  }

  #isDead(): boolean {
    const text = readText(this.file);
    const touchedMs = touchedMsOf(this.file);
    if (text === undefined || touchedMs === undefined) return false;
    const nowMs = performance.now();
    if (text !== this.#seen.text || touchedMs !== this.#seen.touchedMs)
      this.#seen = { text, touchedMs, sinceMs: nowMs };
    return nowMs - this.#seen.sinceMs >= acmeLockStaleMs || hasExited(holderIn(text));
  }

  /** Takes a dead lock away. @returns false when another one has been quicker */
  #bury(): boolean {
    const grave = `${this.file}.${crypto.randomUUID()}`;
    try {
      renameSync(this.file, grave);
    } catch {
      return false;
    }
    const wasDead = readText(grave) === this.#seen.text;
    try {
      // Somebody else has buried it and holds a new one: that goes back to its place.
      if (!wasDead) linkSync(grave, this.file);
    } catch {
      // There is a third one already.
    }
    rmSync(grave, { force: true });
    return wasDead;
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function touchedMsOf(file: string): number | undefined {
  try {
    return statSync(file).mtimeMs;
  } catch {
    return undefined;
  }
}

function holderIn(text: string | undefined): Holder | undefined {
  try {
    return JSON.parse(text ?? "") as Holder;
  } catch {
    return undefined;
  }
}

/** Certain only where both live in the same name space of processes. */
function hasExited(holder: Holder | undefined): boolean {
  const space = pidSpace();
  if (!holder || space === "" || holder.pids !== space || holder.host !== hostname()) return false;
  if (holder.pid === process.pid) return !ours.has(holder.id);
  try {
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function pidSpace(): string {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}
