/** What a proxy has to know of gRPC: who speaks it, deadlines, and our own errors in its words. */
import type { FieldLine } from "./body.ts";

export const DEADLINE_EXCEEDED = 4;
export const UNAVAILABLE = 14;

/** `application/grpc`, with or without a format; gRPC-Web is ordinary HTTP. */
export function isGrpc(contentType: string | undefined): boolean {
  if (contentType === undefined || contentType.length < 16) return false;
  if (contentType.slice(0, 16).toLowerCase() !== "application/grpc") return false;
  return contentType.length === 16 || contentType[16] === "+" || contentType[16] === ";";
}

/** What an HTTP status of ours means to a gRPC client. The ones of 4xx tell more than gRPC's own mapping does. */
const byStatus: Record<number, number> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  405: 12,
  408: 4,
  413: 8,
  415: 12,
  421: 14,
  429: 8,
  431: 8,
  499: 1,
  500: 13,
  501: 12,
  502: UNAVAILABLE,
  503: UNAVAILABLE,
  504: DEADLINE_EXCEEDED,
  508: 13,
};

export function grpcStatusOf(status: number): number {
  return byStatus[status] ?? 2;
}

const units: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * `grpc-timeout`: up to eight digits and a unit.
 * @returns milliseconds, or Infinity without one that can be read
 */
export function grpcTimeoutMs(field: string | undefined): number {
  const parts = field === undefined ? null : /^(\d{1,8})([HMSmun])$/.exec(field);
  return parts ? Number(parts[1]) * units[parts[2]!]! : Infinity;
}

/** Status and message as fields: trailers, or a whole answer. */
export function grpcFields(status: number, message: string): FieldLine[] {
  const text = message.replace(/[^\x20-\x24\x26-\x7e]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
  return [
    ["grpc-status", String(status)],
    ["grpc-message", text],
  ];
}

/** The status that trailers (or a head without body) tell, or undefined. */
export function readGrpcStatus(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,2}$/.test(value) ? Number(value) : undefined;
}
