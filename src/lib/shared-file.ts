/**
 * SharedFile: memory that several processes map. Its file has no name, so that nothing is left behind however they end;
 * who may map it has inherited its descriptor.
 */
import { closeSync, constants, fstatSync, openSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "./cause.ts";

/** Linux: a file in this folder that never has a name (open(2)). */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const zeros = new Uint8Array(1024 * 1024);

export class SharedFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  #closed = false;

  private constructor(
    /** open as long as somebody else may want to map the file */
    readonly descriptor: number,
  ) {
    this.bytes = Bun.mmap(`/proc/self/fd/${descriptor}`, { shared: true }) as Uint8Array<ArrayBuffer>;
  }

  /**
   * A new one, full of zeros. Its memory is taken at once: a page that a full file system cannot give later would end
   * whoever touches it (SIGBUS).
   * @param folders tried in this order; memory first
   * @throws Error that names each folder and what is wrong with it
   */
  static make(size: number, folders: readonly string[] = ["/dev/shm", tmpdir()]): SharedFile {
    const faults: string[] = [];
    for (const folder of folders) {
      let descriptor: number | undefined;
      try {
        descriptor = openNameless(folder);
        for (let at = 0; at < size;) at += writeSync(descriptor, zeros, 0, Math.min(zeros.length, size - at), at);
        return new SharedFile(descriptor);
      } catch (error) {
        if (descriptor !== undefined) closeSync(descriptor);
        faults.push(`${folder}: ${describe(error)}`);
      }
    }
    const mebibytes = (size / 1024 / 1024).toFixed(1);
    throw new Error(`Cannot make ${mebibytes} MiB of memory that processes share: ${faults.join("; ")}`);
  }

  /**
   * Maps what another process made.
   * @param descriptor inherited from it; closed here, a mapping needs none
   * @throws Error when it is no file that can be mapped
   */
  static open(descriptor: number): SharedFile {
    try {
      if (!fstatSync(descriptor).isFile()) throw new Error("it is no file");
      return new SharedFile(descriptor);
    } catch (error) {
      throw new Error(`Cannot map shared memory from descriptor ${descriptor}: ${describe(error)}`);
    } finally {
      try {
        closeSync(descriptor);
      } catch {}
    }
  }

  /** Nobody can map it any more; whoever has, keeps it. */
  close(): void {
    // Once: the number may be somebody else's by then.
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.descriptor);
  }
}

function openNameless(folder: string): number {
  try {
    return openSync(folder, O_TMPFILE | constants.O_RDWR, 0o600);
  } catch (error) {
    // Not every file system can.
    if (!["EOPNOTSUPP", "EISDIR", "ENOTSUP"].includes((error as { code?: string }).code ?? "")) throw error;
  }
  const name = join(folder, `aralez-${crypto.randomUUID()}`);
  const descriptor = openSync(name, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  unlinkSync(name);
  return descriptor;
}
