/** What a log is written to: a file that rotates and may be moved away, or a standard stream that must not block. */
import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  existsSync,
  fstatSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { logLookMs } from "./limits.ts";

export interface LogTarget {
  /** for messages */
  readonly name: string;
  /**
   * @param bytes whole lines, or the rest of what was not taken before
   * @returns how many bytes were taken; fewer than given when the reader is slow
   * @throws when nothing can be written: disk full, no such folder, nobody reads
   */
  write(bytes: Uint8Array): number;
  reopen(): void;
  close(): void;
}

/** The setting `"PATH[, sizeMB=N, keep=N, compress]"`. */
export interface LogFile {
  readonly path: string;
  /** rotate above so many MiB; 0 = never */
  readonly sizeMiB: number;
  /** rotated files kept */
  readonly keep: number;
  readonly compress: boolean;
}

/**
 * What a process does for a file beside appending whole lines to it: `alone` everything; of several that write to it one
 * `leads` and rotates it for all, the others follow.
 */
export type FileKeeping = "alone" | "leads" | "follows";

/** Appends to a file. Writes are not handed to a thread: 64 KiB take 20 µs, and a crash loses nothing that was written. */
export class FileTarget implements LogTarget {
  #fd = -1;
  #regular = false;
  #bytes = 0;
  #rotateAbove: number;
  #lookedMs = 0;
  #wholeLines = true;
  #compressing = false;
  readonly #clock: NodeJS.Timeout | undefined;

  /** @param rotated called when the file was rotated */
  constructor(
    readonly file: LogFile,
    readonly keeping: FileKeeping = "alone",
    readonly rotated: () => void = () => {},
  ) {
    this.#rotateAbove = this.#bytesMax;
    // What the others write makes the file grow too.
    if (keeping === "leads" && file.sizeMiB > 0)
      this.#clock = setInterval(() => this.#lookAfterAll(), logLookMs).unref();
  }

  get name(): string {
    return `"${this.file.path}"`;
  }

  get #bytesMax(): number {
    return this.file.sizeMiB > 0 && this.keeping !== "follows"
      ? this.file.sizeMiB * 1024 * 1024
      : Number.POSITIVE_INFINITY;
  }

  write(bytes: Uint8Array): number {
    this.#look();
    if (this.#fd < 0) this.#open();
    if (this.#regular && this.#wholeLines && this.#bytes > 0 && this.#bytes + bytes.length > this.#rotateAbove)
      this.#rotate();
    const taken = writeWhatFits(this.#fd, bytes);
    this.#bytes += taken;
    if (taken > 0) this.#wholeLines = bytes[taken - 1] === newline;
    return taken;
  }

  reopen(): void {
    this.#leave();
  }

  close(): void {
    clearInterval(this.#clock);
    this.#leave();
  }

  #leave(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #lookAfterAll(): void {
    try {
      this.#look();
      if (this.#fd < 0) this.#open();
      if (this.#regular && this.#wholeLines && this.#bytes > this.#rotateAbove) this.#rotate();
    } catch {
      // The next line will find the same trouble and tell it.
    }
  }

  #open(): void {
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK } = constants;
    // Not blocking, for a path that is a FIFO. Logs tell who visited what: not for everyone's eyes.
    this.#fd = openSync(this.file.path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK, 0o640);
    const stats = fstatSync(this.#fd);
    this.#regular = stats.isFile();
    this.#bytes = stats.size;
    this.#lookedMs = performance.now();
    this.#rotateAbove = this.#bytesMax;
  }

  /** A file that logrotate or a second process has moved away is left; SIGUSR1 only makes it happen at once. */
  #look(): void {
    const now = performance.now();
    if (this.#fd < 0 || !this.#regular || now - this.#lookedMs < logLookMs) return;
    this.#lookedMs = now;
    const there = statSync(this.file.path, { throwIfNoEntry: false });
    const ours = fstatSync(this.#fd);
    if (there?.ino !== ours.ino || there.dev !== ours.dev) this.#leave();
    else this.#bytes = ours.size;
  }

  #rotate(): void {
    // The newest rotated file is still being read; a little more than the limit does no harm.
    if (this.#compressing) return;
    const { path, compress, keep } = this.file;
    try {
      this.#shift();
      if (keep > 0) renameSync(path, `${path}.1`);
      else rmSync(path);
    } catch (error) {
      // The folder may belong to root, and we no longer: better one large file than none.
      this.#rotateAbove = this.#bytes + this.#bytesMax;
      this.#note(`cannot rotate ${this.name}: ${(error as Error).message}`);
      return;
    }
    this.#leave();
    this.#open();
    this.rotated();
    if (compress && keep > 0) void this.#compress(`${path}.1`);
  }

  /** path.1 → path.2 and so on, compressed or not; the last ones go. */
  #shift(): void {
    const { path, keep } = this.file;
    let count = 0;
    while (existsSync(`${path}.${count + 1}`) || existsSync(`${path}.${count + 1}.gz`)) count++;
    for (let number = count; number >= 1; number--) {
      for (const suffix of ["", ".gz"]) {
        const name = `${path}.${number}${suffix}`;
        if (number >= keep) rmSync(name, { force: true });
        else if (existsSync(name)) renameSync(name, `${path}.${number + 1}${suffix}`);
      }
    }
  }

  async #compress(name: string): Promise<void> {
    this.#compressing = true;
    const unfinished = `${name}.gz.tmp`;
    try {
      // The others have lines for the old file until they have turned to the new one.
      if (this.keeping === "leads") await Bun.sleep(2 * logLookMs);
      await pipeline(createReadStream(name), createGzip(), createWriteStream(unfinished, { mode: 0o640 }));
      await rename(unfinished, `${name}.gz`);
      await rm(name);
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => {});
      this.#note(`cannot compress "${name}": ${(error as Error).message}`);
    } finally {
      this.#compressing = false;
    }
  }

  /** Into the file itself, which still works. */
  #note(text: string): void {
    try {
      this.#bytes += writeWhatFits(this.#fd, Buffer.from(`${text}\n`, "utf8"));
    } catch {
      // The next line will find the same trouble and tell it.
    }
  }
}

/** Standard output or error. */
export class StreamTarget implements LogTarget {
  #fd = -1;

  /** @param shared other processes write to it too */
  constructor(
    readonly stream: 1 | 2,
    readonly shared = false,
  ) {}

  get name(): string {
    return this.stream === 1 ? "standard output" : "standard error";
  }

  write(bytes: Uint8Array): number {
    if (this.#fd < 0) this.#fd = openStream(this.stream);
    if (!this.shared) return writeWhatFits(this.#fd, bytes);
    let taken = 0;
    while (taken < bytes.length) {
      const end = endOfPiece(bytes, taken);
      const some = writeWhatFits(this.#fd, bytes.subarray(taken, end));
      taken += some;
      if (taken < end) break;
    }
    return taken;
  }

  reopen(): void {}

  close(): void {
    if (this.#fd > 2) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/**
 * A pipe that nobody reads would stop the whole proxy at the first blocking write (and `process.stdout.write` keeps
 * everything in memory instead). Opened once more by its name, it gets a non-blocking mode of its own, which the shell
 * and whoever else holds the stream do not see. Files never block; sockets (journald) cannot be opened so and stay.
 */
function openStream(stream: 1 | 2): number {
  try {
    const stats = fstatSync(stream);
    if (!stats.isFIFO() && !stats.isCharacterDevice()) return stream;
    return openSync(`/proc/self/fd/${stream}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return stream;
  }
}

/** A pipe takes pieces up to this whole or not at all (pipe(7), PIPE_BUF), so that no other process's lines come in between. */
const pieceBytes = 4096;

/** Whole lines, as many as fit; of a longer line as much as fits. */
function endOfPiece(bytes: Uint8Array, start: number): number {
  const limit = start + pieceBytes;
  if (bytes.length <= limit) return bytes.length;
  const line = bytes.lastIndexOf(newline, limit - 1);
  return line >= start ? line + 1 : limit;
}

function writeWhatFits(fd: number, bytes: Uint8Array): number {
  let taken = 0;
  while (taken < bytes.length) {
    try {
      taken += writeSync(fd, bytes, taken);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EINTR") continue;
      // What was taken must be counted, or it would be written twice; other trouble comes up again next time.
      if (code === "EAGAIN" || taken > 0) return taken;
      throw error;
    }
  }
  return taken;
}

const newline = 0x0a;
