/**
 * Sticky sessions: the cookie `backend_id` names members by opaque ids, one per sticky route of the host.
 *
 * An id is a keyed hash of host, path and server (A3, B14): nobody can make one up, one route's id means nothing to
 * another, and settings can change without losing it. Several routes of a host share the cookie (its Path is `/`), so it
 * holds a dot-separated list, newest first.
 */
import { stickyIdsMax } from "../../lib/limits.ts";
import { readCookie } from "../../lib/cookie.ts";
import type { FieldLine } from "../body.ts";
import type { Member, Pool } from "./pool.ts";

export const stickyCookie = "backend_id";
const idChars = 32;

/** @param key secret, from `master_key` or made at start */
export function stickyId(key: Uint8Array, host: string, path: string, server: string): string {
  return new Bun.CryptoHasher("sha256", key).update(`${host}\0${path}\0${server}`).digest("hex").slice(0, idChars);
}

/** The key for {@link stickyId}: derived, so that the cookie tells nothing about `master_key`. */
export function stickyKey(masterKey: string | undefined): Uint8Array {
  if (masterKey === undefined) return crypto.getRandomValues(new Uint8Array(32));
  return new Uint8Array(new Bun.CryptoHasher("sha256", masterKey).update("aralez sticky cookie").digest().buffer);
}

/** The member that the request's cookie names in this pool, whatever its health. */
export function stickyMember(pool: Pool, cookie: string | undefined): Member | undefined {
  const value = readCookie(cookie, stickyCookie);
  if (value === undefined) return undefined;
  for (const id of ids(value)) {
    const member = pool.byStickyId.get(id);
    if (member) return member;
  }
  return undefined;
}

/** The Set-Cookie line that keeps the client on `member` for `seconds`; other routes' ids are kept. */
export function stickyLine(
  pool: Pool,
  member: Member,
  cookie: string | undefined,
  seconds: number,
  secure: boolean,
): FieldLine {
  const others = ids(readCookie(cookie, stickyCookie) ?? "").filter((id) => !pool.byStickyId.has(id));
  const value = [member.stickyId, ...others].slice(0, stickyIdsMax).join(".");
  return [
    "Set-Cookie",
    `${stickyCookie}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`,
  ];
}

/** Well-formed ids only: whatever else a client writes there is not sent back to it. */
function ids(value: string): string[] {
  if (value.length > stickyIdsMax * (idChars + 1)) return [];
  return value.split(".").filter((id) => id.length === idChars && /^[0-9a-f]+$/.test(id));
}
