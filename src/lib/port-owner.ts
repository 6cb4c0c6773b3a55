/** Who listens on a port of this machine, as /proc tells it: for the message that the port is taken. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { portOwnerLookMs } from "./limits.ts";

export interface PortOwner {
  readonly pid: number;
  /** the name of its program */
  readonly command: string;
}

/** State of a listening socket in /proc/net/tcp (net/tcp_states.h). */
const listening = "0A";

/**
 * @param hostname the address wanted; what listens on all addresses is in its way too
 * @returns "unknown" when there is a socket, but its process is hidden from us, or was not found in a moment; undefined when
 * there is none
 */
export function portOwner(hostname: string, port: number): PortOwner | "unknown" | undefined {
  const inodes = new Set(["tcp", "tcp6"].flatMap((table) => inodesIn(table, hostname, port)));
  if (inodes.size === 0) return undefined;
  const untilMs = performance.now() + portOwnerLookMs;
  for (const entry of entriesOf("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    if (performance.now() > untilMs) break;
    for (const fd of entriesOf(`/proc/${entry}/fd`)) {
      const inode = /^socket:\[([0-9]+)\]$/.exec(linkOf(`/proc/${entry}/fd/${fd}`))?.[1];
      if (inode !== undefined && inodes.has(inode)) return { pid: Number(entry), command: commandOf(entry) };
    }
  }
  return "unknown";
}

/** "nginx (pid 812)", or that it is hidden from us. @returns "" when nobody is found */
export function showPortOwner(hostname: string, port: number): string {
  const owner = portOwner(hostname, port);
  if (owner === undefined) return "";
  return owner === "unknown" ? "a process that this user may not look at" : `${owner.command} (pid ${owner.pid})`;
}

function inodesIn(table: string, hostname: string, port: number): string[] {
  const wanted = hexOf(hostname);
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return textOf(`/proc/net/${table}`)
    .split("\n")
    .flatMap((line) => {
      const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
      if (state !== listening || !local.endsWith(suffix)) return [];
      const address = local.slice(0, -suffix.length);
      const meets = wanted === undefined || /^0+$/.test(address) || address === wanted;
      return meets ? [inode] : [];
    });
}

/** An IPv4 address as /proc/net/tcp writes it on a little-endian machine; undefined = any could be in the way. */
function hexOf(hostname: string): string | undefined {
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(hostname)?.slice(1).map(Number);
  if (!parts || parts.every((part) => part === 0)) return undefined;
  return parts
    .reverse()
    .map((part) => part.toString(16).toUpperCase().padStart(2, "0"))
    .join("");
}

function commandOf(pid: string): string {
  return textOf(`/proc/${pid}/comm`).trim() || "a process";
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
