/** Errands of root: files that must exist and belong to the new user before root is given up. */
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { LogFileRule, Settings } from "../config/settings.ts";
import { stateFolder } from "../control/certificates/folders.ts";
import type { Account } from "./accounts.ts";

/** @throws Error, ready to print */
export function runErrands(settings: Settings, account: Account): void {
  if (settings.log_file) giveLog("log_file", settings.log_file, account);
  if (settings.error_log) giveLog("error_log", settings.error_log, account);
  if (settings.acme) giveState(stateFolder(settings), account);
}

function giveLog(key: string, { path }: LogFileRule, { uid, gid }: Account): void {
  if (path === "/dev/stdout" || path === "/dev/stderr") return;
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NOCTTY, O_NONBLOCK } = constants;
  try {
    // Whoever may write into the folder could otherwise have root give away any file.
    const fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0o640);
    try {
      const stats = fstatSync(fd);
      if (stats.isFile() && stats.uid === 0 && stats.nlink === 1) fchownSync(fd, uid, gid);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // A FIFO that nobody reads yet.
    if (code === "ENXIO") return;
    const why = code === "ELOOP" ? "it is a symlink, which root does not follow" : message;
    throw new Error(`Cannot open "${path}" (${key}) for user ${uid}: ${why}`);
  }
}

/** A folder that root has made, or has used itself until now, goes over with all that is in it. */
function giveState(folder: string, { uid, gid }: Account): void {
  try {
    mkdirSync(dirname(folder), { recursive: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const stats = lstatSync(folder);
    // Once it is the user's, root has no business in there: its names may mean anything.
    if (stats.uid !== 0 || !stats.isDirectory()) return;
    for (const entry of readdirSync(folder, { recursive: true })) {
      const path = join(folder, String(entry));
      if (lstatSync(path).uid === 0) lchownSync(path, uid, gid);
    }
    lchownSync(folder, uid, gid);
  } catch (error) {
    throw new Error(`Cannot give the state folder "${folder}" to user ${uid}: ${(error as Error).message}`);
  }
}
