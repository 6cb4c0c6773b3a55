/** Whom limits count: an IPv4 address, or the /64 of an IPv6 address, which is what one customer is given (B4). */
import { ipBytes } from "../../../lib/address.ts";

/** 64 bits in two halves, each an unsigned 32-bit number. */
export interface ClientKey {
  readonly high: number;
  readonly low: number;
}

// Neither prefix is ever a sender's: ff00::/8 is multicast.
const ipv4 = 0xffff_ffff;
/** Peers without an address (a unix socket) count as one. */
const nobody: ClientKey = { high: 0xffff_fffe, low: 0 };

/** The same as text. */
export function clientName(ip: string): string {
  const { high, low } = clientKey(ip);
  return `${high} ${low}`;
}

let lastIp = "";
let lastKey = nobody;

/** @param ip normalised; of the client, not of a trusted proxy */
export function clientKey(ip: string): ClientKey {
  // Guards of one request ask in a row, and so do the requests of one connection.
  if (ip === lastIp) return lastKey;
  lastIp = ip;
  return (lastKey = keyOf(ip));
}

function keyOf(ip: string): ClientKey {
  const bytes = ipBytes(ip);
  if (!bytes) return nobody;
  return bytes.length === 4 ? { high: ipv4, low: word(bytes, 0) } : { high: word(bytes, 0), low: word(bytes, 4) };
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
