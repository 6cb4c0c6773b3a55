/** Files and sockets this process may hold: how many, and whether one more is left. */
import { closeSync, openSync, readFileSync } from "node:fs";

/**
 * BUN(1.4.4): net.connect and Bun.connect report EMFILE as ECONNREFUSED, so that our own shortage looks like an upstream
 * that is down; remove when they report it.
 */
export function descriptorsLeft(): boolean {
  try {
    closeSync(openSync("/dev/null", "r"));
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code !== "EMFILE" && code !== "ENFILE";
  }
}

/** The soft limit of open files (RLIMIT_NOFILE) of this process; 1024 where it cannot be read. */
export function descriptorsMax(): number {
  try {
    const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(limit ?? 1024);
  } catch {
    return 1024;
  }
}
