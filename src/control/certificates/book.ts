/**
 * What is known about every pair of files: its last good version, what is wrong with it now, and which of the two is
 * served. No disk and no clock of its own: looks come in, a picture comes out.
 */
import type { PairState } from "../../data/tls/certificate-set.ts";
import { certificateGoneMs, certificateGraceMs, certificateSettleMs } from "../../lib/limits.ts";
import { missingFile } from "../../lib/unreadable.ts";
import { placeId, type PairPlace, type ReadFile } from "./folders.ts";
import { isFault, readPair, type PairFault, type UsablePair } from "./pair.ts";

/** One pair of files as it stands at one moment. */
export interface PairView {
  readonly place: PairPlace;
  /** what can be served; undefined when it never had a good version */
  readonly pair: UsablePair | undefined;
  readonly state: PairState | "bad" | "incomplete";
  /** what is wrong with the files as they lie there */
  readonly fault: PairFault | undefined;
}

export interface Picture {
  /** those of folders by name, then by rank; then the given ones in their order */
  readonly views: readonly PairView[];
  /** faults whose files have been at rest for a while are in the views; younger ones make this time finite */
  readonly nextLookMs: number;
}

type FileRead = ReadFile | string;

interface Entry {
  place: PairPlace;
  /** what was read last: the same bytes need not be checked again */
  fingerprint: string;
  reading: UsablePair | PairFault;
  /** one of its two files is not there */
  incomplete: boolean;
  /** when the bytes read last were written, as far as known */
  touchedMs: number;
  good: UsablePair | undefined;
  /** since when the pair has been faulty without a break */
  faultySinceMs: number | undefined;
  goneSinceMs: number | undefined;
}

export class PairBook {
  readonly #entries = new Map<string, Entry>();

  /** Takes in what lies at a place. @returns false when these bytes were known: then it has cost next to nothing */
  see(place: PairPlace, crt: FileRead, key: FileRead, nowMs: number): boolean {
    const fingerprint = fingerprintOf(crt, key);
    const before = this.#entries.get(placeId(place));
    if (before) {
      before.goneSinceMs = undefined;
      before.place = place;
    }
    if (before?.fingerprint === fingerprint) return false;
    const touched = [crt, key].flatMap((file) => (typeof file === "string" ? [] : [file.touchedMs]));
    // A file whose age is not known was there before this process, or changed just now.
    const touchedMs = before ? nowMs : Math.min(nowMs, Math.max(0, ...touched));
    const reading =
      typeof crt === "string" || typeof key === "string" ? unread(crt, key) : readPair(crt.bytes, key.bytes);
    this.#entries.set(placeId(place), {
      place,
      fingerprint,
      reading,
      incomplete: crt === missingFile || key === missingFile,
      touchedMs,
      good: before?.good,
      faultySinceMs: isFault(reading) ? (before?.faultySinceMs ?? touchedMs) : undefined,
      goneSinceMs: undefined,
    });
    return true;
  }

  /**
   * Ends a look: pairs that it has not seen are gone, after a moment.
   * @param seen the ids of all places that were there
   * @param isUnknown places of which nothing is known: they stay as they are
   */
  endLook(seen: ReadonlySet<string>, isUnknown: (place: PairPlace) => boolean, nowMs: number): void {
    for (const [id, entry] of this.#entries) {
      if (seen.has(id) || isUnknown(entry.place)) continue;
      entry.goneSinceMs ??= nowMs;
      if (nowMs - entry.goneSinceMs >= certificateGoneMs || !entry.good) this.#entries.delete(id);
      // Files that come back are a new version, even with the same bytes.
      else entry.fingerprint = "";
    }
  }

  /** Decides for every pair what is served of it at this moment. */
  picture(nowMs: number): Picture {
    let nextLookMs = Number.POSITIVE_INFINITY;
    const wait = (untilMs: number) => (nextLookMs = Math.min(nextLookMs, untilMs));
    const views = [...this.#entries.values()].map((entry) => {
      if (entry.goneSinceMs !== undefined) wait(entry.goneSinceMs + certificateGoneMs);
      return view(entry, nowMs, wait);
    });
    views.sort(
      ({ place: a }, { place: b }) => (a.given ?? -1) - (b.given ?? -1) || compare(a.name, b.name) || a.rank - b.rank,
    );
    return { views, nextLookMs };
  }
}

/** @param wait called with the time at which the answer may be another one */
function view(entry: Entry, nowMs: number, wait: (untilMs: number) => void): PairView {
  const { place, reading } = entry;
  if (isFault(reading)) {
    const ripeMs = (entry.faultySinceMs ?? 0) + certificateGraceMs;
    if (nowMs < ripeMs) wait(ripeMs);
    const fault = nowMs < ripeMs ? undefined : reading;
    return { place, pair: entry.good, state: faultyState(entry, nowMs), fault };
  }
  const { good } = entry;
  if (good && reading.id !== good.id) {
    if (stateOf(reading, nowMs) !== "valid" && stateOf(good, nowMs) === "valid") {
      const begins = nowMs < reading.notBeforeMs ? reading.notBeforeMs : Number.POSITIVE_INFINITY;
      wait(Math.min(good.notAfterMs + 1, begins));
      return { place, pair: good, state: "valid", fault: untimely(reading, nowMs) };
    }
    const settledMs = entry.touchedMs + certificateSettleMs;
    if (reading.chainLength < good.chainLength && nowMs < settledMs) {
      wait(settledMs);
      return { place, pair: good, state: stateOf(good, nowMs), fault: undefined };
    }
  }
  entry.good = reading;
  return { place, pair: reading, state: stateOf(reading, nowMs), fault: undefined };
}

function faultyState({ good, incomplete }: Entry, nowMs: number): PairView["state"] {
  if (good) return stateOf(good, nowMs);
  return incomplete ? "incomplete" : "bad";
}

export function stateOf({ notBeforeMs, notAfterMs }: UsablePair, nowMs: number): PairState {
  if (nowMs > notAfterMs) return "expired";
  return nowMs < notBeforeMs ? "not-yet-valid" : "valid";
}

function untimely(pair: UsablePair, nowMs: number): PairFault {
  const expired = nowMs > pair.notAfterMs;
  const day = new Date(expired ? pair.notAfterMs : pair.notBeforeMs).toISOString().slice(0, 10);
  return { which: "crt", line: 1, message: expired ? `it expired on ${day}` : `it is not valid before ${day}` };
}

function unread(crt: FileRead, key: FileRead): PairFault {
  const which = typeof crt === "string" ? "crt" : "key";
  return { which, line: 1, message: String(which === "crt" ? crt : key) };
}

function fingerprintOf(...files: FileRead[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const file of files) {
    hasher.update(typeof file === "string" ? `fault ${file}\0` : `bytes ${file.bytes.length}\0`);
    if (typeof file !== "string") hasher.update(file.bytes);
  }
  return hasher.digest("hex");
}

/** By code units: the same order on every machine. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
