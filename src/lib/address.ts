/** Addresses: what to listen on, where to connect to, and which clients are meant. */
import { isIP, isIPv4, isIPv6 } from "node:net";

/** A listening address: TCP, or a unix socket path. */
export type ListenAddress = { readonly hostname: string; readonly port: number } | { readonly unix: string };

/** Where an upstream listens. `host` is a name, an IPv4, or a bare IPv6 address (no brackets). */
export type DialAddress = { readonly host: string; readonly port: number } | { readonly unix: string };

/** The protocol words of `servers` items and of the key `protocol`. */
export const protocols = ["auto", "http", "https", "h2", "h2c"] as const;
export type Protocol = (typeof protocols)[number];

/**
 * Reads `ip:port`, `[ipv6]:port`, `:port` (all addresses, both families), `*:port` or `unix:/path`.
 * @throws Error whose message says what was found and what is wanted.
 */
export function readListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) throw new Error(`expected an absolute path after "unix:", found "${path}"`);
    return { unix: path };
  }
  const colon = text.lastIndexOf(":");
  if (colon < 0) throw new Error(`expected "ip:port", "[ipv6]:port" or ":port", found "${text}"`);
  const port = readPort(text.slice(colon + 1));
  let host = text.slice(0, colon);
  if (host === "" || host === "*") return { hostname: "::", port };
  if (host.startsWith("[") && host.endsWith("]")) {
    host = host.slice(1, -1);
    if (!isIPv6(host)) throw new Error(`"${host}" is not an IPv6 address`);
    return { hostname: host, port };
  }
  if (isIPv6(host)) throw new Error(`write an IPv6 address in brackets: "[${host}]:${port}"`);
  if (host === "localhost") return { hostname: "127.0.0.1", port };
  if (!isIPv4(host)) throw new Error(`"${host}" is not an IP address (a listener needs one, not a name)`);
  return { hostname: host, port };
}

/** One item of `servers` as text. `protocol` is absent when the item names no scheme. */
export interface ServerText {
  readonly address: DialAddress;
  readonly protocol?: Protocol;
}

const schemes: Record<string, { protocol: Protocol; port: number }> = {
  http: { protocol: "http", port: 80 },
  https: { protocol: "https", port: 443 },
  h2c: { protocol: "h2c", port: 80 },
};

/**
 * Reads `host:port`, `[::1]:port`, `scheme://host[:port]` (http, https, h2c) or `unix:/path`.
 * @throws Error with the wording for the configuration's error list.
 */
export function readServer(text: string): ServerText {
  if (text !== text.trim() || text === "") throw new Error(`expected "host:port", found "${text}"`);
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) throw new Error(`expected an absolute path after "unix:", found "${path}"`);
    return { address: { unix: path } };
  }
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\/(.*)$/.exec(text);
  if (!scheme) return { address: readHostPort(text, undefined) };
  const known = schemes[scheme[1]!.toLowerCase()];
  if (!known) throw new Error(`unknown scheme "${scheme[1]}": expected http, https or h2c`);
  const rest = scheme[2]!.replace(/\/$/, "");
  if (rest.includes("/")) throw new Error(`a server has no path: "${text}"`);
  if (rest.includes("@")) throw new Error(`a server has no user or password: "${scheme[1]}://…"`);
  return { address: readHostPort(rest, known.port), protocol: known.protocol };
}

function readHostPort(text: string, portDefault: number | undefined): DialAddress {
  let host: string;
  let portText: string | undefined;
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    host = text.slice(1, close < 0 ? undefined : close);
    if (close < 0 || !isIPv6(host)) throw new Error(`expected "[ipv6]:port", found "${text}"`);
    const after = text.slice(close + 1);
    if (after.startsWith(":")) portText = after.slice(1);
    else if (after !== "") throw new Error(`expected ":port" after "]", found "${after}"`);
  } else if (isIPv6(text)) {
    throw new Error(`write an IPv6 address in brackets: "[${text}]:port"`);
  } else {
    // Split at the last colon, as the original does; a host has no colon of its own.
    const colon = text.lastIndexOf(":");
    host = colon < 0 ? text : text.slice(0, colon);
    if (colon >= 0) portText = text.slice(colon + 1);
    if (!isHostName(host) && !isIPv4(host)) throw new Error(`"${host}" is not a host name or IP address`);
  }
  if (portText === undefined) {
    if (portDefault === undefined) throw new Error(`the port is missing: write "${text}:PORT"`);
    return { host: host.toLowerCase(), port: portDefault };
  }
  return { host: host.toLowerCase(), port: readPort(portText) };
}

function readPort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : -1;
  if (port < 1 || port > 65_535) throw new Error(`"${text}" is not a port (1 to 65535)`);
  return port;
}

/** True for a DNS name: labels of letters, digits, `-` and `_` (service discovery uses it), no empty label but the root's. */
export function isHostName(text: string): boolean {
  if (text.length === 0 || text.length > 253) return false;
  // A name of digits and dots only is a mistyped IPv4 address, never a name.
  if (/^[0-9.]+$/.test(text)) return false;
  return /^(?:[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)(?:\.(?:[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?))*\.?$/.test(
    text,
  );
}

/** `host:port`, `[ipv6]:port` or `unix:/path`: the identity of an endpoint and its form in logs. */
export function showAddress(address: DialAddress): string {
  if ("unix" in address) return `unix:${address.unix}`;
  return isIPv6(address.host) ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** `ip:port`, `[ipv6]:port` or `unix:/path`. */
export function showListen(address: ListenAddress): string {
  return "unix" in address ? showAddress(address) : showAddress({ host: address.hostname, port: address.port });
}

/** IPv4 addresses arrive as `::ffff:1.2.3.4` on a dual-stack listener; zone ids (`%eth0`) are local to this machine. */
export function normaliseIp(ip: string): string {
  if (!ip.includes(":")) return ip;
  if (/^::ffff:[0-9.]+$/i.test(ip)) return ip.slice(7);
  const zone = ip.indexOf("%");
  return zone < 0 ? ip : ip.slice(0, zone);
}

/** A set of client addresses: IPs and CIDR blocks, v4 and v6. */
export class AddressSet {
  /** IPv4 blocks: base and mask of each in turn */
  readonly #v4: Int32Array;
  readonly #v6: readonly { readonly bytes: Uint8Array; readonly bits: number }[];

  /** @param items already checked by {@link readClientAddress}. */
  constructor(items: readonly string[]) {
    const blocks = items.flatMap(readClientAddress);
    this.#v6 = blocks.filter(({ bytes }) => bytes.length === 16);
    this.#v4 = Int32Array.from(
      blocks
        .filter(({ bytes }) => bytes.length === 4)
        .flatMap(({ bytes: [a = 0, b = 0, c = 0, d = 0], bits }) => [
          (a << 24) | (b << 16) | (c << 8) | d,
          bits === 0 ? 0 : -1 << (32 - bits),
        ]),
    );
  }

  get empty(): boolean {
    return this.#v4.length === 0 && this.#v6.length === 0;
  }

  /** @param ip a normalised IP; anything else (a unix peer: "") is never contained. */
  has(ip: string): boolean {
    const number = ipv4Number(ip);
    if (number >= 0) {
      const blocks = this.#v4;
      for (let i = 0; i < blocks.length; i += 2) if ((number & blocks[i + 1]!) === blocks[i]!) return true;
      return false;
    }
    if (this.empty) return false;
    const bytes = ipBytes(ip);
    if (!bytes) return false;
    // One written as IPv6 that is an IPv4 address in truth.
    if (bytes.length === 4) return this.has(bytes.join("."));
    return this.#v6.some((block) => samePrefix(block.bytes, bytes, block.bits));
  }
}

/** The number that an IPv4 address is, or -1 for what is none: four decimal parts without leading zeros. */
export function ipv4Number(text: string): number {
  let number = 0;
  let part = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      if (part < 0 || ++dots > 3) return -1;
      number = number * 256 + part;
      part = -1;
      continue;
    }
    if (code < 48 || code > 57 || part === 0) return -1;
    part = (part < 0 ? 0 : part * 10) + code - 48;
    if (part > 255) return -1;
  }
  return dots === 3 && part >= 0 ? number * 256 + part : -1;
}

const addressWords: Record<string, string[]> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"],
};

/**
 * Reads one item of `allow`, `deny`, `trusted_proxies`: an IP, a CIDR block, `loopback` or `private`.
 * @throws Error for anything else, and for a block whose host bits are set (`10.0.0.1/8`), which is nearly always a slip.
 */
export function readClientAddress(text: string): { bytes: Uint8Array; bits: number }[] {
  const words = addressWords[text];
  if (words) return words.flatMap(readClientAddress);
  const slash = text.indexOf("/");
  const ip = slash < 0 ? text : text.slice(0, slash);
  const bytes = ipBytes(ip);
  if (!bytes) throw new Error(`"${text}" is not an IP address, a CIDR block, "loopback" or "private"`);
  if (slash < 0) return [{ bytes, bits: bytes.length * 8 }];
  const bitsText = text.slice(slash + 1);
  const bits = /^[0-9]{1,3}$/.test(bitsText) ? Number(bitsText) : -1;
  if (bits < 0 || bits > bytes.length * 8)
    throw new Error(`"/${bitsText}" is not a prefix length (0 to ${bytes.length * 8})`);
  const network = bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - i * 8))));
  if (network.some((byte, i) => byte !== bytes[i])) throw new Error(`"${text}" has host bits set beyond /${bits}`);
  return [{ bytes, bits }];
}

/** @returns 4 or 16 bytes, or undefined for what is no IP. `::ffff:1.2.3.4` gives those of 1.2.3.4. */
export function ipBytes(ip: string): Uint8Array | undefined {
  const family = isIP(ip);
  if (family === 4) return Uint8Array.from(ip.split("."), Number);
  if (family !== 6 || ip.includes("%")) return undefined;
  let text = ip;
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (tail) {
    const [a, b, c, d] = [tail[2], tail[3], tail[4], tail[5]].map(Number) as [number, number, number, number];
    text = `${tail[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = "", rest] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = rest === undefined || rest === "" ? [] : rest.split(":");
  const groups = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right].map((g) => parseInt(g, 16));
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[i * 2] = group >> 8;
    bytes[i * 2 + 1] = group & 255;
  });
  // ::ffff:1.2.3.4 is the IPv4 address 1.2.3.4.
  if (bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 255 && bytes[11] === 255) return bytes.slice(12);
  return bytes;
}

function samePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (a[whole]! ^ b[whole]!) >> (8 - rest) === 0;
}
