/** Peek: reads what a client has sent without taking it away from whoever reads the socket afterwards (recv(2), MSG_PEEK). */
import { dlopen, ptr } from "bun:ffi";

const MSG_PEEK = 0x02;
const MSG_DONTWAIT = 0x40;

const open = (library: string) =>
  dlopen(library, { recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" } }).symbols;

/** glibc's, or musl's. */
function openLibc(): ReturnType<typeof open> | undefined {
  for (const library of ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]) {
    try {
      return open(library);
    } catch {}
  }
  return undefined;
}

let libc: ReturnType<typeof open> | undefined;

/** A ClientHello of one record, as far as anybody sends it. */
const buffer = new Uint8Array(16 * 1024 + 5);

/** @returns what waits in the socket, valid until the next call; undefined where peeking is not possible */
export function peek(fd: number): Uint8Array | undefined {
  if (process.platform !== "linux" || fd < 0) return undefined;
  libc ??= openLibc();
  if (!libc) return undefined;
  const length = Number(libc.recv(fd, ptr(buffer), buffer.length, MSG_PEEK | MSG_DONTWAIT));
  return buffer.subarray(0, Math.max(0, length));
}
