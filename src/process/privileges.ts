/**
 * Privileges: from root to the user of the configuration, before any port is opened. All that is kept is the right to
 * open ports below 1024, so that certificates may change and workers be replaced later on.
 *
 * Ports cannot be opened first and privileges dropped afterwards: sockets that share a port must be one user's.
 */
import { ptr } from "bun:ffi";
import { fchownSync, fstatSync } from "node:fs";
import { libc, type Libc } from "../lib/libc.ts";
import { findAccount, type Account } from "./accounts.ts";
import { capabilitiesOf } from "./capabilities.ts";

// linux/prctl.h and linux/capability.h
const PR_SET_KEEPCAPS = 8;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;
const CAP_NET_BIND_SERVICE = 10;
const capabilityVersion3 = 0x20080522;

/**
 * Decides, without changing anything, whom this process is to become.
 * @returns undefined when it stays who it is
 * @throws Error, ready to print, when the file asks for what cannot be done
 */
export function accountWanted(runuser: string | undefined, rungroup: string | undefined): Account | undefined {
  if (runuser === undefined || rungroup === undefined) return undefined;
  const account = findAccount(runuser, rungroup);
  const [uid, gid] = [process.geteuid!(), process.getegid!()];
  if (uid === 0) return account;
  if (uid === account.uid && gid === account.gid) return undefined;
  throw new Error(
    `Cannot become user "${account.user}" and group "${account.group}" (runuser, rungroup): this takes root, and ` +
      `this process is uid ${uid}, gid ${gid}. Start it as root or as that user and group, or remove both keys`,
  );
}

/**
 * Becomes somebody else for good. Supplementary groups go; CAP_NET_BIND_SERVICE stays where root had it.
 * @throws Error, ready to print
 */
export function become({ user, group, uid, gid }: Account): void {
  const library = libc();
  const mayBind = (capabilitiesOf("self").permitted & bit(CAP_NET_BIND_SERVICE)) !== 0n;
  try {
    giveStreams(uid, gid);
    if (library && uid !== 0) {
      dropBounds(library);
      library.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    }
    process.setgroups!([]);
    process.setgid!(gid);
    process.setuid!(uid);
  } catch (error) {
    throw new Error(`Cannot become user "${user}" and group "${group}": ${(error as Error).message}`);
  }
  if (process.geteuid!() !== uid || process.getegid!() !== gid)
    throw new Error(`Cannot become user "${user}" and group "${group}": the system kept the ones before`);
  if (!library || uid === 0) return;
  keepOnly(library, mayBind ? bit(CAP_NET_BIND_SERVICE) : 0n);
  library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const left = capabilitiesOf("self").permitted & ~bit(CAP_NET_BIND_SERVICE);
  if (left !== 0n) throw new Error(`Cannot drop root: capabilities 0x${left.toString(16)} are still there`);
}

/** What no program started from here can get back either. */
function dropBounds(library: Libc): void {
  for (let capability = 0; library.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (capability !== CAP_NET_BIND_SERVICE) library.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

/**
 * Of this thread, which opens all ports; threads that are there already have lost everything with setuid. Ambient, so
 * that workers and a successor started from here have it too.
 */
function keepOnly(library: Libc, kept: bigint): void {
  const low = Number(kept & 0xffffffffn);
  const high = Number(kept >> 32n);
  const header = new Uint32Array([capabilityVersion3, 0]);
  const sets = new Uint32Array([low, low, low, high, high, high]);
  if (library.capset(ptr(header), ptr(sets)) !== 0) throw new Error("Cannot drop root: capset failed");
  if (kept !== 0n) library.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
}

/** Pipes are opened once more by their name (see log-target.ts), which only their owner may. */
function giveStreams(uid: number, gid: number): void {
  for (const stream of [1, 2]) {
    try {
      if (fstatSync(stream).isFIFO()) fchownSync(stream, uid, gid);
    } catch {
      // A stream that is closed needs no owner.
    }
  }
}

function bit(capability: number): bigint {
  return 1n << BigInt(capability);
}
