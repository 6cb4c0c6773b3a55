/** A file opened inside a root, whatever symlinks and renames try to make of its path. */
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, realpathSync, type Stats } from "node:fs";

/**
 * A file that was opened first and checked then, so that the checks speak of the very bytes that are read: between a
 * check of a path and its opening somebody could put a symlink there.
 */
export class Opened {
  private constructor(
    readonly fd: number,
    readonly stats: Stats,
    /** after all symlinks */
    readonly path: string,
  ) {}

  /** @returns undefined for what is no regular file or lies outside the root. Close what you get. */
  static below(root: string, file: string, tries = 2): Opened | undefined {
    // Not blocking: what was a file a moment ago may be a FIFO now.
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    let kept = false;
    try {
      const stats = fstatSync(fd);
      // Renamed over in this very moment, as deployments do: the next look finds its successor.
      if (stats.nlink === 0 && tries > 1) return Opened.below(root, file, tries - 1);
      const path = pathOfOpen(fd, file);
      kept = stats.isFile() && isInside(root, path);
      return kept ? new Opened(fd, stats, path) : undefined;
    } finally {
      if (!kept) closeSync(fd);
    }
  }

  /** @returns undefined when the file has become shorter meanwhile */
  read(start: number, end: number): Uint8Array<ArrayBuffer> | undefined {
    const bytes = new Uint8Array(end - start);
    for (let got = 0; got < bytes.length;) {
      const more = readSync(this.fd, bytes, got, bytes.length - got, start + got);
      if (more === 0) return undefined;
      got += more;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** The kernel's own word for what is open; without /proc (not Linux), the path as it resolves now. */
function pathOfOpen(fd: number, file: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return realpathSync(file);
  }
}

/** @param path after all symlinks */
export function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith("/") ? root : `${root}/`);
}
