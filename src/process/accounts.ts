/** Users and groups by name or number, from wherever the system has them (getpwnam(3), so LDAP and the like too). */
import { ptr, read, type Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";
import { cString, libc } from "../lib/libc.ts";

/** Whom the process is to become, and how it was called in the file. */
export interface Account {
  readonly user: string;
  readonly group: string;
  readonly uid: number;
  readonly gid: number;
}

/** Largest number of a user or group; the one above means "nobody asked" to the kernel. */
const idMax = 2 ** 32 - 2;

/**
 * @param user, group as in `runuser` and `rungroup`. A group that does not exist and is called as the user means that
 * user's own one: old files give only the user.
 * @throws Error that names what does not exist
 */
export function findAccount(user: string, group: string): Account {
  const found = findUser(user);
  const uid = found?.uid ?? numberOf(user);
  if (uid === undefined) throw new Error(`Cannot become user "${user}" (runuser): there is no such user`);
  const gid = findGroup(group) ?? (group === user ? found?.gid : undefined) ?? numberOf(group);
  if (gid === undefined) throw new Error(`Cannot become group "${group}" (rungroup): there is no such group`);
  return { user, group, uid, gid };
}

function numberOf(text: string): number | undefined {
  const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : undefined;
  return number !== undefined && number <= idMax ? number : undefined;
}

function findUser(name: string): { uid: number; gid: number } | undefined {
  const library = libc();
  if (!library) {
    const fields = lineOf("/etc/passwd", name);
    return fields && { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  // struct passwd: two pointers, then the two numbers.
  const record = library.getpwnam(ptr(cString(name)));
  return record ? { uid: read.u32(record as Pointer, 16), gid: read.u32(record as Pointer, 20) } : undefined;
}

function findGroup(name: string): number | undefined {
  const library = libc();
  if (!library) {
    const fields = lineOf("/etc/group", name);
    return fields && Number(fields[2]);
  }
  const record = library.getgrnam(ptr(cString(name)));
  return record ? read.u32(record as Pointer, 16) : undefined;
}

function lineOf(file: string, name: string): string[] | undefined {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.map((line) => line.split(":")).find((fields) => fields[0] === name && fields.length > 3);
}
