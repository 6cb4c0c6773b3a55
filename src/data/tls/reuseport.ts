/**
 * Steering: which of several listening sockets of one port gets new connections (SO_REUSEPORT, socket(7)). Without it the
 * kernel spreads them over all, and resets those that wait in the queue of one that closes.
 */
import { ptr } from "bun:ffi";
import { readdirSync, readlinkSync } from "node:fs";
import { libc } from "../../lib/libc.ts";

const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;
const AF_INET6 = 10;
/** classic BPF: return a constant */
const BPF_RET_K = 0x06;

export interface Steering {
  /** All new connections go to the listener that was opened last. */
  toNewest(): void;
  /** The kernel spreads them again, over what listeners there are. */
  end(): void;
}

/**
 * @param port of this process's own listeners
 * @returns undefined where the system does not offer it: then a change of listeners may reset a few connections
 */
export function steerNewConnections(port: number): Steering | undefined {
  if (!libc()) return undefined;
  const before = listeningSockets(port);
  if (before.length === 0) return undefined;
  let attached: number | undefined;
  return {
    toNewest() {
      // Sockets stand in the order of their listen(); the newest is the last.
      const [newest] = listeningSockets(port).filter((fd) => !before.includes(fd));
      if (newest === undefined || !attach(newest, before.length)) return;
      attached = newest;
    },
    end() {
      const none = new Int32Array([0]);
      if (attached !== undefined) libc()!.setsockopt(attached, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, ptr(none), 4);
    },
  };
}

/** A program of one instruction, `return index`: the socket to take. */
function attach(fd: number, index: number): boolean {
  const instruction = Buffer.alloc(8);
  instruction.writeUInt16LE(BPF_RET_K, 0);
  instruction.writeUInt32LE(index, 4);
  const program = Buffer.alloc(16);
  program.writeUInt16LE(1, 0);
  program.writeBigUInt64LE(BigInt(ptr(instruction)), 8);
  return libc()!.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, ptr(program), 16) === 0;
}

/** Descriptors of this process that listen on a TCP port. */
function listeningSockets(port: number): number[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => isSocket(fd) && listens(fd) && portOf(fd) === port);
}

function isSocket(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
  } catch {
    return false;
  }
}

function listens(fd: number): boolean {
  const value = new Int32Array(1);
  const length = new Uint32Array([4]);
  return libc()!.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, ptr(value), ptr(length)) === 0 && value[0] === 1;
}

function portOf(fd: number): number {
  const address = Buffer.alloc(128);
  const length = new Uint32Array([address.length]);
  if (libc()!.getsockname(fd, ptr(address), ptr(length)) !== 0) return -1;
  const family = address.readUInt16LE(0);
  return family === 2 || family === AF_INET6 ? address.readUInt16BE(2) : -1;
}
