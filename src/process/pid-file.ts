/**
 * PidFile: `pid_file`, locked by the process it names (flock(2)), so that a stale one needs no guessing: what nobody has
 * locked is free. Opened while we may be root, and the user's from then on.
 */
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { libc } from "../lib/libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

export class PidFile {
  #fd: number;
  #held = false;

  private constructor(
    readonly path: string,
    readonly owner: number | undefined,
  ) {
    this.#fd = open(path, owner);
  }

  /**
   * @param owner who may own it beside root and this user: whom this process is to become
   * @throws Error, ready to print
   */
  static open(path: string, owner?: number): PidFile {
    return new PidFile(path, owner);
  }

  /** A later self, without root, must be able to open it too. @throws Error */
  give(uid: number, gid: number): void {
    fchownSync(this.#fd, uid, gid);
  }

  /** The process that holds it or did; undefined when it is empty. */
  get pid(): number | undefined {
    const buffer = Buffer.alloc(32);
    const text = buffer.toString("latin1", 0, readSync(this.#fd, buffer, 0, buffer.length, 0));
    return /^[1-9][0-9]*\s*$/.test(text) ? Number(text) : undefined;
  }

  /**
   * Locks it and writes our number.
   * @returns false while another process holds it
   * @throws Error, ready to print, when it is no pid file
   */
  take(): boolean {
    for (let tries = 0; tries < 3; tries++) {
      const library = libc();
      if (library && library.flock(this.#fd, LOCK_EX | LOCK_NB) !== 0) return false;
      // Its holder may have removed it between our open and our lock.
      if (this.#isThere()) {
        if (fstatSync(this.#fd).size > 0 && this.pid === undefined)
          throw new Error(`Cannot write "${this.path}" (pid_file): it holds something else than a process id`);
        this.#held = true;
        ftruncateSync(this.#fd, 0);
        writeSync(this.#fd, `${process.pid}\n`, 0);
        return true;
      }
      closeSync(this.#fd);
      this.#fd = open(this.path, this.owner);
    }
    return false;
  }

  /** At the end: removes it, if it is still ours. */
  remove(): void {
    if (this.#fd < 0) return;
    if (this.#held && this.pid === process.pid && this.#isThere()) {
      try {
        unlinkSync(this.path);
      } catch {
        // The folder is root's and we are not any more: an empty file names nobody.
        ftruncateSync(this.#fd, 0);
      }
    }
    this.leave();
  }

  /** Unlocks it and leaves it to a successor. */
  leave(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#held = false;
  }

  #isThere(): boolean {
    const there = lstatSync(this.path, { throwIfNoEntry: false });
    const ours = fstatSync(this.#fd);
    return there?.ino === ours.ino && there.dev === ours.dev;
  }
}

function open(path: string, owner: number | undefined): number {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
  const flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
  let fd: number;
  try {
    fd = openEither(
      () => openSync(path, flags),
      // Not O_CREAT alone: in /tmp the kernel refuses that for another user's file, even to root (fs.protected_regular).
      () => openSync(path, flags | O_CREAT | O_EXCL, 0o644),
    );
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ELOOP" ? "it is a symlink, which would have another file overwritten" : message;
    throw new Error(`Cannot open "${path}" (pid_file): ${why}`);
  }
  const stats = fstatSync(fd);
  // In /tmp anybody could have put one there, and whoever owns it says whom `kill $(cat FILE)` meets.
  const isOurs = [0, process.geteuid!(), owner].includes(stats.uid);
  if (stats.isFile() && isOurs) return fd;
  closeSync(fd);
  throw new Error(
    `Cannot open "${path}" (pid_file): ${isOurs ? "expected a file" : `it belongs to user ${stats.uid}`}`,
  );
}

function openEither(existing: () => number, created: () => number): number {
  for (let tries = 0; ; tries++) {
    try {
      return existing();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    try {
      return created();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || tries > 2) throw error;
    }
  }
}
