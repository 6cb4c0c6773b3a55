/** Slots: the methods, status codes and versions that have a counter of their own. What clients and upstreams make up shares one. */
import { STATUS_CODES } from "node:http";
import type { HttpVersion } from "../exchange.ts";

/** Labels by slot; the last one is for all others (B23). */
export const methodLabels = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "OTHER"] as const;

const methodSlots: ReadonlyMap<string, number> = new Map(methodLabels.map((label, slot) => [label, slot]));
const otherMethod = methodLabels.length - 1;

export function methodSlot(method: string): number {
  return method === "GET" ? 0 : (methodSlots.get(method) ?? otherMethod);
}

/** 499: the client left before its answer. */
const knownStatuses = [...Object.keys(STATUS_CODES).map(Number), 499].sort((a, b) => a - b);
const classes = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/** Labels by slot: the registered codes, then one for the rest of each class. */
export const statusLabels: readonly string[] = [...knownStatuses.map(String), ...classes];

const statusSlots = Uint8Array.from({ length: 600 }, (_, status) => {
  const known = knownStatuses.indexOf(status);
  return known >= 0 ? known : knownStatuses.length + Math.floor(status / 100);
});

export function statusSlot(status: number): number {
  return statusSlots[status] ?? knownStatuses.length;
}

export const versionLabels = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"] as const satisfies readonly HttpVersion[];

export function versionSlot(version: HttpVersion): number {
  return version === "HTTP/1.1" ? 1 : versionLabels.indexOf(version);
}
