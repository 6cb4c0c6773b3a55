/** Preconditions: what the conditional fields and Range of a request ask of a file that exists (RFC 9110, 13 and 14). */
import { readHttpDate } from "../../lib/http-date.ts";
import { rangeHeaderCharsMax } from "../../lib/limits.ts";
import type { Exchange } from "../exchange.ts";

/** What a request is conditional upon. */
export interface Validators {
  /** a strong entity tag, with its quotes */
  readonly etag: string;
  /** whole seconds, as Last-Modified shows them */
  readonly modifiedMs: number;
  readonly bytes: number;
}

/** `end` is exclusive. */
export type Outcome =
  { readonly status: 200 | 304 | 412 | 416 } | { readonly status: 206; readonly start: number; readonly end: number };

const whole: Outcome = { status: 200 };
const unchanged: Outcome = { status: 304 };
const changed: Outcome = { status: 412 };
const outside: Outcome = { status: 416 };

/**
 * Weighs the fields in the order of RFC 9110 13.2.2.
 * @param nowMs wall clock: a date is a strong validator only once its second is over (RFC 9110 8.8.2.2)
 */
export function weigh(exchange: Exchange, current: Validators, nowMs: number): Outcome {
  const ifMatch = exchange.field("if-match");
  if (ifMatch !== undefined) {
    if (!lists(ifMatch, current.etag, false)) return changed;
  } else {
    const since = date(exchange.field("if-unmodified-since"));
    if (since !== undefined && current.modifiedMs > since) return changed;
  }
  const ifNoneMatch = exchange.field("if-none-match");
  if (ifNoneMatch !== undefined) {
    if (lists(ifNoneMatch, current.etag, true)) return unchanged;
  } else {
    const since = date(exchange.field("if-modified-since"));
    if (since !== undefined && current.modifiedMs <= since) return unchanged;
  }
  // Range means nothing for other methods (RFC 9110 14.2).
  const range = exchange.method === "GET" ? exchange.field("range") : undefined;
  if (range === undefined || range.length > rangeHeaderCharsMax) return whole;
  const ifRange = exchange.field("if-range");
  if (ifRange !== undefined && !isCurrent(ifRange, current, nowMs)) return whole;
  return oneRange(range, current.bytes);
}

/**
 * One range; several are answered with the whole file, which RFC 9110 14.2 allows and which no attacker can multiply.
 * An empty file has no ranges: clients that ask for the first bytes of everything get it whole.
 */
function oneRange(field: string, bytes: number): Outcome {
  const parts = rangeSyntax.exec(field);
  if (!parts || bytes === 0) return whole;
  const [, first = "", last = ""] = parts;
  if (first === "") {
    if (last === "") return whole;
    const suffix = Number(last);
    return suffix === 0 ? outside : { status: 206, start: Math.max(0, bytes - suffix), end: bytes };
  }
  const start = Number(first);
  const end = last === "" ? bytes : Math.min(bytes, Number(last) + 1);
  if (last !== "" && Number(last) < start) return whole;
  return start >= bytes ? outside : { status: 206, start, end };
}

const rangeSyntax = /^bytes=(\d*)-(\d*)$/i;

function isCurrent(ifRange: string, current: Validators, nowMs: number): boolean {
  if (ifRange.endsWith('"')) return ifRange === current.etag;
  return date(ifRange) === current.modifiedMs && nowMs - current.modifiedMs >= 1000;
}

function date(field: string | undefined): number | undefined {
  return field === undefined ? undefined : readHttpDate(field);
}

/** Whether an If-Match or If-None-Match names the tag. @param weakly `W/"x"` matches too (RFC 9110 8.8.3.2) */
function lists(field: string, etag: string, weakly: boolean): boolean {
  if (field.trim() === "*") return true;
  for (let at = field.indexOf(etag); at >= 0; at = field.indexOf(etag, at + 1)) {
    const weak = at >= 2 && field.startsWith("W/", at - 2);
    if (weak && !weakly) continue;
    // Inside another tag the quotes would not stand at the ends of a list member.
    const before = field.slice(0, weak ? at - 2 : at).trimEnd();
    const after = field.slice(at + etag.length).trimStart();
    if ((before === "" || before.endsWith(",")) && (after === "" || after.startsWith(","))) return true;
  }
  return false;
}
