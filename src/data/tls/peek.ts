/** Peek: reads what a client has sent without taking it away from whoever reads the socket afterwards (recv(2), MSG_PEEK). */
import { ptr } from "bun:ffi";
import { libc } from "../../lib/libc.ts";

const MSG_PEEK = 0x02;
const MSG_DONTWAIT = 0x40;

/** A ClientHello of one record, as far as anybody sends it. */
const buffer = new Uint8Array(16 * 1024 + 5);

/** @returns what waits in the socket, valid until the next call; undefined where peeking is not possible */
export function peek(fd: number): Uint8Array | undefined {
  const library = fd < 0 ? undefined : libc();
  if (!library) return undefined;
  const length = Number(library.recv(fd, ptr(buffer), buffer.length, MSG_PEEK | MSG_DONTWAIT));
  return buffer.subarray(0, Math.max(0, length));
}
