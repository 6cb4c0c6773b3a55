/** What is kept of each name: its pair of files, the order under way, failures, and when something is to be done. */
import { join } from "node:path";
import { acmeClockSlackMs, acmeRenewalInfoMsMax, acmeRetryAfterMsMax } from "../../lib/limits.ts";
import { isFault, readPair } from "../certificates/pair.ts";
import { readIfThere, readMap, writePrivately } from "./files.ts";
import { certificateId } from "./renewal-info.ts";
import { renewAtMs, spreadOf, type Term, type Window } from "./schedule.ts";

/** `orders/NAME.json` of the state folder. Times in milliseconds since 1970. */
export interface OrderRecord {
  readonly directory: string;
  /** URL of an order that has not ended; its certificate key lies in `orders/NAME.key` */
  readonly order: string;
  /** in a row */
  readonly failures: number;
  /** why the last try failed; "" when it did not */
  readonly trouble: string;
  /** not before */
  readonly nextTryMs: number;
  /** when that was put down: a clock that stands before it has been set back, and the times here mean nothing */
  readonly triedMs: number;
  /** what the server suggests for the certificate of this id */
  readonly renewal?: { readonly id: string; readonly window?: Window; readonly checkMs: number };
}

/** The certificate at hand. */
export interface Held extends Term {
  /** RFC 9773; "" when it has none */
  readonly id: string;
  readonly spread: number;
}

export interface Entry {
  readonly name: string;
  held: Held | undefined;
  record: OrderRecord;
  /** an order is under way in this process */
  ordering: boolean;
}

const blank: OrderRecord = { directory: "", order: "", failures: 0, trouble: "", nextTryMs: 0, triedMs: 0 };

export function certificateFiles(folder: string, name: string): { readonly crt: string; readonly key: string } {
  const at = join(folder, "certificates", name);
  return { crt: `${at}.crt`, key: `${at}.key` };
}

export function pendingKeyFile(folder: string, name: string): string {
  return join(folder, "orders", `${name}.key`);
}

/** Reads what is known of a name. @throws Error when the folder cannot be read */
export function readEntry(folder: string, name: string): Entry {
  return { name, held: readHeld(folder, name), record: readRecord(folder, name), ordering: false };
}

export function writeRecord(folder: string, { name, record }: Entry): void {
  writePrivately(fileOf(folder, name), JSON.stringify(record, null, 2));
}

/** @param renewBeforeDays as configured */
export function renewalOf({ held, record }: Entry, renewBeforeDays: number | undefined): number | undefined {
  if (!held) return undefined;
  const suggested = record.renewal?.id === held.id ? record.renewal.window : undefined;
  return renewAtMs(held, renewBeforeDays, suggested, held.spread);
}

/** When a certificate is to be ordered. */
export function orderDueMs(entry: Entry, renewBeforeDays: number | undefined): number {
  const { nextTryMs, triedMs } = entry.record;
  const nowMs = Date.now();
  const isWrong = nowMs < triedMs - acmeClockSlackMs || nextTryMs > nowMs + acmeRetryAfterMsMax;
  return Math.max(renewalOf(entry, renewBeforeDays) ?? 0, isWrong ? 0 : nextTryMs);
}

/** When its server is to be asked what it suggests; never without a certificate. */
export function renewalInfoDueMs({ held, record }: Entry): number {
  if (!held) return Number.POSITIVE_INFINITY;
  if (record.renewal?.id !== held.id) return 0;
  const { checkMs } = record.renewal;
  return checkMs > Date.now() + acmeRenewalInfoMsMax + acmeClockSlackMs ? 0 : checkMs;
}

function readHeld(folder: string, name: string): Held | undefined {
  const { crt, key } = certificateFiles(folder, name);
  const [certificate, privateKey] = [readIfThere(crt), readIfThere(key)];
  if (certificate === undefined || privateKey === undefined) return undefined;
  const pair = readPair(Buffer.from(certificate), Buffer.from(privateKey));
  if (isFault(pair) || !pair.names.includes(name)) return undefined;
  const { notBeforeMs, notAfterMs, certPem, id } = pair;
  return { notBeforeMs, notAfterMs, id: certificateId(certPem) ?? "", spread: spreadOf(`${name} ${id}`) };
}

function readRecord(folder: string, name: string): OrderRecord {
  const map = readMap(fileOf(folder, name)) ?? {};
  const text = (key: string) => (typeof map[key] === "string" ? map[key] : "");
  const number = (key: string) => (typeof map[key] === "number" && Number.isFinite(map[key]) ? map[key] : 0);
  const renewal = map.renewal as OrderRecord["renewal"];
  return {
    ...blank,
    directory: text("directory"),
    order: text("order"),
    failures: Math.max(0, Math.floor(number("failures"))),
    trouble: text("trouble"),
    nextTryMs: number("nextTryMs"),
    triedMs: number("triedMs"),
    ...(typeof renewal?.id === "string" && typeof renewal.checkMs === "number" && { renewal }),
  };
}

function fileOf(folder: string, name: string): string {
  return join(folder, "orders", `${name}.json`);
}
