/** Replaces a file at once: a reader sees the old text or the new one, a crash leaves one of them. */
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Mode and owner stay as they are; a symbolic link stays one, and its target is replaced.
 * @throws the error of the file system; the file is then as it was
 */
export function replaceFile(path: string, bytes: Uint8Array): void {
  const file = realpathSync(path);
  const { mode, uid, gid } = statSync(file);
  // Hidden, so that no reader of the folder takes it for one of its files.
  const temporary = join(dirname(file), `.${basename(file)}.${crypto.randomUUID().slice(0, 8)}.tmp`);
  try {
    const descriptor = openSync(temporary, "wx", 0o600);
    try {
      writeWhole(descriptor, bytes);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    giveTo(temporary, uid, gid);
    chmodSync(temporary, mode & 0o7777);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(file));
}

function writeWhole(descriptor: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at, bytes.length - at);
}

/** Only root may give a file away; for everybody else it is their own already, or it becomes so. */
function giveTo(file: string, uid: number, gid: number): void {
  const now = statSync(file);
  if (now.uid === uid && now.gid === gid) return;
  try {
    chownSync(file, uid, gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
  }
}

/** The rename itself must survive a crash, too; some file systems cannot be asked. */
function syncFolder(folder: string): void {
  try {
    const descriptor = openSync(folder, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // The file itself is safe.
  }
}
