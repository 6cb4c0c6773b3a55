/**
 * Steering: which of several listening sockets of one port gets new connections (SO_REUSEPORT, socket(7)). Without it the
 * kernel spreads them over all, and resets those that wait in the queue of one that closes.
 */
import { dlopen, ptr } from "bun:ffi";
import { readdirSync, readlinkSync } from "node:fs";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_ACCEPTCONN = 30;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;
const AF_INET6 = 10;
/** classic BPF: return a constant; load a byte; mask it; jump if it equals */
const BPF_RET_K = 0x06;
const BPF_LD_B_ABS = 0x30;
const BPF_AND_K = 0x54;
const BPF_JEQ_K = 0x15;

export interface Steering {
  /** All new connections go to the listener that was opened last. */
  toNewest(): void;
  /** The kernel spreads them again, over what listeners there are. */
  end(): void;
}

const open = (library: string) =>
  dlopen(library, {
    setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
    getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  }).symbols;

let symbols: ReturnType<typeof open> | undefined;

/** glibc's, or musl's. */
function openLibc(): ReturnType<typeof open> | undefined {
  for (const library of ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]) {
    try {
      return open(library);
    } catch {}
  }
  return undefined;
}

/**
 * @param port of this process's own listeners
 * @param shared other processes listen on it too: whose sockets come in between is not known here, so the old ones turn
 *   beginnings of connections away instead, and their clients come again to another socket after a second
 * @returns undefined where the system does not offer it: then a change of listeners may reset a few connections
 */
export function steerNewConnections(port: number, shared = false): Steering | undefined {
  if (process.platform !== "linux") return undefined;
  symbols ??= openLibc();
  if (!symbols) return undefined;
  const before = listeningSockets(port);
  if (before.length === 0) return undefined;
  let attached: number | undefined;
  return {
    toNewest() {
      if (shared) return before.forEach(dropBeginnings);
      // Sockets stand in the order of their listen(); the newest is the last.
      const [newest] = listeningSockets(port).filter((fd) => !before.includes(fd));
      if (newest === undefined || !attach(newest, before.length)) return;
      attached = newest;
    },
    end() {
      const none = new Int32Array([0]);
      if (attached !== undefined) symbols!.setsockopt(attached, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, ptr(none), 4);
    },
  };
}

/** A program of one instruction, `return index`: the socket to take. */
function attach(fd: number, index: number): boolean {
  return run(fd, SO_ATTACH_REUSEPORT_CBPF, [[BPF_RET_K, 0, 0, index]]);
}

/** A SYN without ACK is dropped and sent again by the client; what has begun before goes on (RFC 9293 3.1: flags at byte 13). */
function dropBeginnings(fd: number): void {
  run(fd, SO_ATTACH_FILTER, [
    [BPF_LD_B_ABS, 0, 0, 13],
    [BPF_AND_K, 0, 0, 0x12],
    [BPF_JEQ_K, 0, 1, 0x02],
    [BPF_RET_K, 0, 0, 0],
    [BPF_RET_K, 0, 0, 0xffff_ffff],
  ]);
}

/** code, jump if true, jump if false, operand */
type Instruction = readonly [number, number, number, number];

function run(fd: number, option: number, instructions: readonly Instruction[]): boolean {
  const code = Buffer.alloc(8 * instructions.length);
  instructions.forEach(([operation, jumpTrue, jumpFalse, operand], i) => {
    code.writeUInt16LE(operation, 8 * i);
    code.writeUInt8(jumpTrue, 8 * i + 2);
    code.writeUInt8(jumpFalse, 8 * i + 3);
    code.writeUInt32LE(operand, 8 * i + 4);
  });
  const program = Buffer.alloc(16);
  program.writeUInt16LE(instructions.length, 0);
  program.writeBigUInt64LE(BigInt(ptr(code)), 8);
  return symbols!.setsockopt(fd, SOL_SOCKET, option, ptr(program), 16) === 0;
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
  return symbols!.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, ptr(value), ptr(length)) === 0 && value[0] === 1;
}

function portOf(fd: number): number {
  const address = Buffer.alloc(128);
  const length = new Uint32Array([address.length]);
  if (symbols!.getsockname(fd, ptr(address), ptr(length)) !== 0) return -1;
  const family = address.readUInt16LE(0);
  return family === 2 || family === AF_INET6 ? address.readUInt16BE(2) : -1;
}
