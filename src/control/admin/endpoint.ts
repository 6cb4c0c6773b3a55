/** Endpoint: one path of the admin API, who may use it, and how its answers look. */
import type { Exchange, OwnReply } from "../../data/exchange.ts";

/** One request to the admin API. */
export interface AdminRequest {
  readonly exchange: Exchange;
  /** as sent, without query */
  readonly path: string;
  readonly query: URLSearchParams;
  /** how the key came ("Bearer", "x-api-key", "?key="); undefined when no good one came */
  readonly keyBy: string | undefined;
}

/**
 * `open` everybody, `read` as `admin_read` says, `key` whoever has the master key, `own` decides for itself (the key of
 * `POST /jwt` stands in its body).
 */
export type AccessKind = "open" | "read" | "key" | "own";

export interface Endpoint {
  /** GET includes HEAD; "*" = any */
  readonly methods: readonly string[];
  /** the whole path, or with a final "/" whatever lies below it */
  readonly path: string;
  readonly access: AccessKind;
  /** `why` of the reply is the line for the log; "" = none */
  answer(request: AdminRequest): OwnReply | Promise<OwnReply>;
}

/** @param why the line for the log, "" = none */
export function textReply(status: number, content: string, why = ""): OwnReply {
  return reply(status, "text/plain; charset=utf-8", content, why);
}

/** In one line: the original's manual cuts tokens out with `cut`. @param value plain data */
export function jsonReply(status: number, value: unknown, why = ""): OwnReply {
  return reply(status, "application/json", `${JSON.stringify(value)}\n`, why);
}

export function reply(status: number, type: string, content: string, why: string): OwnReply {
  return {
    status,
    fields: [
      ["Content-Type", type],
      ["Cache-Control", "no-store"],
    ],
    content,
    why,
  };
}

/** The client would rather have JSON. */
export function wantsJson({ exchange }: AdminRequest): boolean {
  return /\bapplication\/json\b/i.test(exchange.field("accept") ?? "");
}
