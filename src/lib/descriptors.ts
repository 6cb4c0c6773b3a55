/** Whether this process can open another file or socket. */
import { closeSync, openSync } from "node:fs";

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
