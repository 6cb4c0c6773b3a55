/**
 * The listening sockets of this process, and what the kernel is told about them (socket(7)): which of several sockets of
 * one port gets new connections, and that one takes no more.
 */
import { ptr } from "bun:ffi";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { libc } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_KEEPALIVE = 9;
const SO_ACCEPTCONN = 30;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;
const IPPROTO_TCP = 6;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_INFO = 11;
/** struct tcp_info: tcpi_unacked, which is the length of the accept queue of a listening socket */
const tcpiUnacked = 24;
const AF_INET = 2;
const AF_INET6 = 10;

/** Classic BPF: load a byte or a word of the packet; arithmetic; jump if equal; return a constant or what was reckoned. */
const BPF_LD_B_ABS = 0x30;
const BPF_LD_W_ABS = 0x20;
const BPF_ADD_K = 0x04;
const BPF_MOD_K = 0x94;
const BPF_AND_K = 0x54;
const BPF_JEQ_K = 0x15;
const BPF_RET_K = 0x06;
const BPF_RET_A = 0x16;
/** Beyond the packet lies a random number (SKF_AD_OFF + SKF_AD_RANDOM). */
const random = 2 ** 32 - 0x1000 + 56;

/** code, jump if true, jump if false, operand */
type Instruction = readonly [number, number, number, number];

/** Descriptors of this process that listen on a TCP port, in the order of their numbers; none where /proc does not tell. */
export function listeningSockets(port: number): number[] {
  if (!libc()) return [];
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => isSocket(fd) && listens(fd) && portOf(fd) === port);
}

/** TCP keepalive of connections (tcp(7)), in whole seconds of at least 1. */
export interface TcpKeepAlive {
  /** silence before the first probe */
  readonly idleSeconds: number;
  /** between probes */
  readonly intervalSeconds: number;
  /** probes without an answer before the connection is given up */
  readonly probes: number;
}

/**
 * What Bun has no option for: a longer accept queue, and TCP keepalive, which connections inherit from their listener, so
 * that none of them costs a call.
 *
 * BUN(1.4.4): `listen()` has a queue of 512 connections; remove when it can be said.
 * @param backlog connections that may wait to be accepted; the kernel's bound is net.core.somaxconn
 */
export function tuneListener(port: number, backlog: number, keepAlive: TcpKeepAlive | undefined): void {
  for (const fd of listeningSockets(port)) {
    libc()!.listen(fd, backlog);
    if (!keepAlive) continue;
    const { idleSeconds, intervalSeconds, probes } = keepAlive;
    for (const [level, option, value] of [
      [SOL_SOCKET, SO_KEEPALIVE, 1],
      [IPPROTO_TCP, TCP_KEEPIDLE, idleSeconds],
      [IPPROTO_TCP, TCP_KEEPINTVL, intervalSeconds],
      [IPPROTO_TCP, TCP_KEEPCNT, probes],
    ] as const)
      libc()!.setsockopt(fd, level, option, ptr(new Int32Array([value])), 4);
  }
}

/**
 * New connections of the port go to some of its sockets only, whosever they are.
 * @param fd any of them
 * @param first index in the order of their `listen()`; one that closes leaves its index to the last
 * @param count of sockets that take turns from there on
 * @returns false where the kernel refuses
 */
export function steerTo(fd: number, first: number, count: number): boolean {
  if (count === 1) return run(fd, SO_ATTACH_REUSEPORT_CBPF, [[BPF_RET_K, 0, 0, first]]);
  return run(fd, SO_ATTACH_REUSEPORT_CBPF, [
    [BPF_LD_W_ABS, 0, 0, random],
    [BPF_MOD_K, 0, 0, count],
    [BPF_ADD_K, 0, 0, first],
    [BPF_RET_A, 0, 0, 0],
  ]);
}

/** The kernel spreads new connections over all sockets of the port again. @param fd any of them */
export function steerToAll(fd: number): void {
  const none = new Int32Array([0]);
  libc()?.setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, ptr(none), 4);
}

/**
 * A socket takes no new connection: a SYN without ACK is dropped, and sent again by the client a second later, to whoever
 * listens then. What has begun before goes on (RFC 9293 3.1: flags at byte 13).
 */
export function dropBeginnings(fd: number): void {
  run(fd, SO_ATTACH_FILTER, [
    [BPF_LD_B_ABS, 0, 0, 13],
    [BPF_AND_K, 0, 0, 0x12],
    [BPF_JEQ_K, 0, 1, 0x02],
    [BPF_RET_K, 0, 0, 0],
    [BPF_RET_K, 0, 0, 0xffff_ffff],
  ]);
}

/** Connections that the kernel has made and nobody has accepted; they would be reset with their socket. */
export function waitingConnections(fd: number): number {
  const info = Buffer.alloc(256);
  const length = new Uint32Array([info.length]);
  if (libc()?.getsockopt(fd, IPPROTO_TCP, TCP_INFO, ptr(info), ptr(length)) !== 0) return 0;
  return info.readUInt32LE(tcpiUnacked);
}

/** Whether anybody has a connection to a port of this machine, through whichever process. */
export function hasConnections(port: number): boolean {
  const established = new RegExp(
    `^\\s*\\d+: [0-9A-F]+:${port.toString(16).toUpperCase().padStart(4, "0")} \\S+ 01 `,
    "m",
  );
  return ["tcp", "tcp6"].some((table) => {
    try {
      return established.test(readFileSync(`/proc/net/${table}`, "latin1"));
    } catch {
      return false;
    }
  });
}

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
  return libc()?.setsockopt(fd, SOL_SOCKET, option, ptr(program), program.length) === 0;
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
  return family === AF_INET || family === AF_INET6 ? address.readUInt16BE(2) : -1;
}
