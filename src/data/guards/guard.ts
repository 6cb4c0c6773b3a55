/** Guard: may answer instead of the upstream. Present in a route's list only if configured. */
import { STATUS_CODES } from "node:http";
import type { Exchange, ExchangeWatcher, OwnReply, Reply } from "../exchange.ts";
import type { Ending } from "../plane.ts";
import type { Route, Trust } from "../routing/table.ts";

/** A reply to send instead, or undefined to go on. */
export type Verdict = Reply | undefined;

export interface Guard {
  /** shown as `denied_by` in logs */
  readonly name: string;
  check(exchange: Exchange, route: Route): Verdict | Promise<Verdict>;
  /** What `check` would say, without counting and without asking anybody; absent where `check` does neither. */
  rehearse?(exchange: Exchange, route: Route): Rehearsal | Promise<Rehearsal>;
  /** of connections that the guard has of its own: they are kept while a table uses it */
  readonly trust?: Trust;
}

/** What a guard would do, found out without doing it. */
export interface Rehearsal {
  readonly verdict: Verdict;
  /** what it looked at, for whoever asks why */
  readonly note: string;
  /** somebody else decides, who was not asked: it may answer all the same */
  readonly open?: boolean;
}

/** Has the watcher told when the exchange is over. */
export function watch(exchange: Exchange, watcher: ExchangeWatcher): void {
  (exchange.watchers ??= []).push(watcher);
}

/** Tells those who watch that it is over; they are told once, whoever finds out. */
export function tellWatchers(exchange: Exchange, ending: Ending): void {
  const { watchers } = exchange;
  if (!watchers) return;
  exchange.watchers = undefined;
  for (const watcher of watchers) watcher.over(exchange, ending);
}

/** The reason phrase of a status. */
export function titleOf(status: number): string {
  return titles[status] ?? STATUS_CODES[status] ?? "";
}

const titles: Record<number, string> = {
  301: "Moved Permanently",
  302: "Found",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  416: "Range Not Satisfiable",
  421: "Misdirected Request",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  508: "Loop Detected",
};

/**
 * An answer of our own: one line of text that says what and why (contract, section 1).
 * @param why for the client: never a cause from inside
 * @param cause for the log; defaults to `why`
 */
export function refuse(status: number, why: string, fields: OwnReply["fields"] = [], cause = why): OwnReply {
  return {
    status,
    fields: [["Content-Type", "text/plain; charset=utf-8"], ["Cache-Control", "no-store"], ...fields],
    content: `${status} ${titleOf(status) || "Error"}: ${why}\n`,
    why: cause,
  };
}
