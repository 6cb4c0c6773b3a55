/** The functions of the C library that Bun does not offer, by bun:ffi: glibc's or musl's, on Linux. */
import { dlopen, ptr, read, type Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";

const open = (library: string) =>
  dlopen(library, {
    __errno_location: { args: [], returns: "ptr" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    capget: { args: ["ptr", "ptr"], returns: "i32" },
    capset: { args: ["ptr", "ptr"], returns: "i32" },
    clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    dup2: { args: ["i32", "i32"], returns: "i32" },
    flock: { args: ["i32", "i32"], returns: "i32" },
    getgrnam: { args: ["ptr"], returns: "ptr" },
    getpwnam: { args: ["ptr"], returns: "ptr" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
    sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
    setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  }).symbols;

export type Libc = ReturnType<typeof open>;

let symbols: Libc | undefined | null;

/** @returns undefined where there is neither library: what needs it is then done without, or refused */
export function libc(): Libc | undefined {
  if (symbols === undefined) symbols = process.platform === "linux" ? openOwn() : null;
  return symbols ?? undefined;
}

function openOwn(): Libc | null {
  try {
    return open(runsOnMusl() ? `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1` : "libc.so.6");
  } catch {
    return null;
  }
}

/** The other library may be there as well, and loading it into this process would wreck it. */
function runsOnMusl(): boolean {
  return /\/ld-musl-|\/libc\.musl-/.test(readFileSync("/proc/self/maps", "latin1"));
}

/** Error number of the call just made; to be read before anything else runs. */
export function errno(): number {
  const at = libc()?.__errno_location();
  return at ? read.i32(at as Pointer) : 0;
}

export const EACCES = 13;
export const EAGAIN = 11;
export const EADDRINUSE = 98;

/** @returns the bytes of a C string, which must be kept while the library uses them */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, "utf8");
}

/** CLOCK_MONOTONIC in microseconds, as systemd reads it; undefined where it cannot be had. */
export function monotonicMicros(): bigint | undefined {
  const time = new BigInt64Array(2);
  const CLOCK_MONOTONIC = 1;
  if (libc()?.clock_gettime(CLOCK_MONOTONIC, ptr(time)) !== 0) return undefined;
  return time[0]! * 1_000_000n + time[1]! / 1_000n;
}
