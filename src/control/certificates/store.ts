/**
 * The certificate store: what lies in the certificate folders becomes a set for the TLS port, within a second of every
 * change, and never with a certificate beside another one's key.
 */
import type { Problem } from "../../config/problem.ts";
import type { CertificateSet } from "../../data/tls/certificate-set.ts";
import { certificateClockMs, certificateGraceMs, certificatePairsMax, certificateSliceMs } from "../../lib/limits.ts";
import { watchFiles, type Watching } from "../watch.ts";
import { PairBook, type PairView } from "./book.ts";
import { describeSetChange, located, problemsOf } from "./describe.ts";
import { ExpiryReminders } from "./expiry.ts";
import {
  certificateFolders,
  isPairFile,
  isUnknown,
  listPlaces,
  pairFilesIn,
  placeId,
  readPairFile,
  type PairPlace,
  type CertificateSettings,
} from "./folders.ts";
import { makeSet, withPlaceholder } from "./select.ts";

export type { CertificateSettings } from "./folders.ts";

export interface CertificateStoreOptions {
  /** asked anew at every look: `default_certificate` may change */
  settings(): CertificateSettings;
  log(level: "error" | "warn" | "info" | "debug", target: string, text: string): void;
  /** gets every set after the first one */
  onChange(set: CertificateSet): void;
  /** pairs that lie in no file; {@link CertificateStore.give} replaces them */
  readonly given?: readonly GivenPair[];
  /** milliseconds since 1970 */
  now?(): number;
}

/** A pair from elsewhere than a folder. */
export interface GivenPair {
  /** where it comes from, for messages; stands for the file name */
  readonly name: string;
  readonly crt: Uint8Array;
  readonly key: Uint8Array;
  /** it is shown for no other names, whatever it says; absent = for all that it says */
  readonly hosts?: readonly string[];
}

export interface CertificateStore {
  /** in force now; never without a pair */
  readonly set: CertificateSet;
  /** what is wrong with the files as they lie there */
  readonly problems: readonly Problem[];
  /** every pair of files, the unusable ones too */
  readonly views: readonly PairView[];
  /** These pairs instead of the ones given before; of two for one host name files win, then the one given first. */
  give(pairs: readonly GivenPair[]): void;
  /** Looks now. Resolves when a change, if there was one, has been handed on. */
  check(): Promise<void>;
  stop(): void;
}

/**
 * Reads everything, then watches. Certificates that cannot be used never make it fail: at worst the set is a self-signed
 * placeholder.
 */
export async function openCertificates(options: CertificateStoreOptions): Promise<CertificateStore> {
  const store = new Store(options);
  await store.open();
  return store;
}

/** The same without a watch, for a look from the command line. */
export async function lookAtCertificates(settings: CertificateSettings, now = Date.now): Promise<Look> {
  const reader = new Reader(() => settings, now);
  return reader.settledLook();
}

/** What one look has found. */
export interface Look {
  readonly views: readonly PairView[];
  readonly problems: readonly Problem[];
  readonly set: CertificateSet | undefined;
  /** when it should be repeated, milliseconds since 1970 */
  readonly nextLookMs: number;
}

/** Reads the folders into a book, look by look. */
class Reader {
  readonly #book = new PairBook();
  #folderProblems: Problem[] = [];
  given: readonly GivenPair[] = [];

  constructor(
    readonly settings: () => CertificateSettings,
    readonly now: () => number,
  ) {}

  async look(): Promise<Look> {
    const listing = listPlaces(this.settings());
    const places = listing.places.slice(0, certificatePairsMax);
    this.#folderProblems = folderProblems(listing.unknown, listing.places.length);
    let sliceMs = performance.now();
    for (const place of places) {
      this.#book.see(place, readPairFile(place.crt), readPairFile(place.key), this.now());
      if (performance.now() - sliceMs < certificateSliceMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceMs = performance.now();
    }
    const given = this.given.slice(0, certificatePairsMax);
    const givenPlaces = given.map(givenPlace);
    for (const [i, { crt, key }] of given.entries())
      this.#book.see(givenPlaces[i]!, { bytes: crt, touchedMs: 0 }, { bytes: key, touchedMs: 0 }, this.now());
    const seen = new Set([...places, ...givenPlaces].map(placeId));
    this.#book.endLook(seen, (place) => isUnknown(place, listing), this.now());
    return this.think();
  }

  /** The same without reading anything: time alone changes what is served. */
  think(): Look {
    const nowMs = this.now();
    const { views, nextLookMs } = this.#book.picture(nowMs);
    const { default_certificate } = this.settings();
    const { set, problems } = makeSet(views, default_certificate, nowMs);
    return {
      views,
      set,
      nextLookMs,
      problems: [...this.#folderProblems, ...views.flatMap(problemsOf), ...problems],
    };
  }

  /** The first look; where files have just been written it waits until they are at rest. */
  async settledLook(): Promise<Look> {
    let look = await this.look();
    const endMs = performance.now() + certificateGraceMs + 200;
    while (look.nextLookMs - this.now() <= certificateGraceMs && performance.now() < endMs) {
      await Bun.sleep(50);
      look = await this.look();
    }
    return look;
  }
}

class Store implements CertificateStore {
  set!: CertificateSet;
  problems: readonly Problem[] = [];
  views: readonly PairView[] = [];
  readonly #options: CertificateStoreOptions;
  readonly #now: () => number;
  readonly #reader: Reader;
  readonly #reminders = new ExpiryReminders();
  #watching: Watching | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #clock: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: CertificateStoreOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#reader = new Reader(options.settings, this.#now);
    this.#reader.given = options.given ?? [];
  }

  async open(): Promise<void> {
    const { settings, log } = this.#options;
    // The watch starts before the first read, so that a change in between is noticed.
    this.#watching = watchFiles({
      files: () => [settings().tls_certificate, settings().tls_key_file].filter((file) => file !== undefined),
      folders: () => certificateFolders(settings()),
      members: pairFilesIn,
      concerns: isPairFile,
      unhashed: true,
      onChange: () => this.#look(),
      onError: (error) => log("error", "certificates", `a look failed: ${(error as Error).stack ?? error}`),
    });
    await this.#run(async () => this.#publish(await this.#reader.settledLook()));
    this.#clock = setInterval(() => void this.#run(() => this.#publish(this.#reader.think())), certificateClockMs);
    this.#clock.unref();
  }

  give(pairs: readonly GivenPair[]): void {
    if (sameGiven(this.#reader.given, pairs)) return;
    this.#reader.given = pairs;
    void this.#look().catch(() => {});
  }

  async check(): Promise<void> {
    await this.#watching?.check();
    await this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#watching?.stop();
    clearInterval(this.#clock);
    clearTimeout(this.#again);
  }

  #look(): Promise<void> {
    return this.#run(async () => this.#publish(await this.#reader.look()));
  }

  /** One at a time: a look gives way to requests, and another one must not begin meanwhile. */
  #run(work: () => void | Promise<void>): Promise<void> {
    const run = this.#queue.then(() => (this.#stopped ? undefined : work()));
    this.#queue = run.catch((error) =>
      this.#options.log("error", "certificates", `${(error as Error).stack ?? error}`),
    );
    return run;
  }

  #publish(look: Look): void {
    if (this.#stopped) return;
    const nowMs = this.#now();
    const before = this.set as CertificateSet | undefined;
    const set = look.set ?? withPlaceholder(before, nowMs);
    this.views = look.views;
    this.#tellProblems(look.problems);
    this.#scheduleAgain(look.nextLookMs - nowMs);
    if (set.version !== before?.version) {
      this.set = set;
      this.#tellChange(before, set);
      if (before) this.#hand(set);
    }
    for (const line of this.#reminders.due(set.pairs, nowMs)) this.#options.log("warn", "certificates", line);
  }

  #hand(set: CertificateSet): void {
    try {
      this.#options.onChange(set);
    } catch (error) {
      this.#options.log("error", "certificates", `a listener refused the new set: ${(error as Error).stack ?? error}`);
    }
  }

  #scheduleAgain(waitMs: number): void {
    clearTimeout(this.#again);
    if (waitMs > certificateClockMs) return;
    const look = () => void this.#look().catch(() => {});
    this.#again = setTimeout(look, Math.max(waitMs, 10)).unref();
  }

  /** Each problem once, for as long as it lasts. */
  #tellProblems(problems: readonly Problem[]): void {
    const { log } = this.#options;
    const known = new Set(this.problems.map(({ message }) => message));
    for (const { severity, message } of problems) {
      if (known.has(message)) continue;
      log(severity === "error" ? "error" : severity === "warning" ? "warn" : "info", "certificates", message);
    }
    const faulty = new Set(problems.filter(isFaulty).map(({ file }) => file));
    for (const problem of this.problems) {
      if (isFaulty(problem) && !faulty.has(problem.file))
        log("info", "certificates", `"${problem.file}" is in order again, or gone`);
    }
    this.problems = problems;
  }

  #tellChange(before: CertificateSet | undefined, after: CertificateSet): void {
    const { log, settings } = this.#options;
    const real = ({ pairs }: CertificateSet) => pairs.filter(({ state }) => state !== "placeholder");
    const change = describeSetChange(before ? real(before) : [], real(after));
    if (change !== "") log("info", "certificates", change);
    if (real(after).length > 0) return;
    const folders = certificateFolders(settings()).join(", ");
    log(
      "warn",
      "certificates",
      `there is no usable certificate in ${folders}: the TLS port shows a self-signed placeholder, which clients refuse`,
    );
  }
}

function givenPlace({ name, hosts }: GivenPair, order: number): PairPlace {
  return { name, crt: name, key: `${name} (key)`, rank: 0, given: order, ...(hosts && { hosts }) };
}

function sameGiven(before: readonly GivenPair[], after: readonly GivenPair[]): boolean {
  const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
  return (
    before.length === after.length &&
    before.every((pair, i) => {
      const other = after[i]!;
      const sameHosts = JSON.stringify(pair.hosts) === JSON.stringify(other.hosts);
      return pair.name === other.name && sameHosts && same(pair.crt, other.crt) && same(pair.key, other.key);
    })
  );
}

function isFaulty({ message }: Problem): boolean {
  return message.startsWith("Cannot ");
}

function folderProblems(unknown: ReadonlyMap<string, string>, pairs: number): Problem[] {
  const problems: Problem[] = [...unknown].map(([folder, reason]) => ({
    ...located(folder),
    severity: "error",
    message: `Cannot list "${folder}": ${reason}; its certificates stay as they are`,
  }));
  if (pairs > certificatePairsMax)
    problems.push({
      ...located(""),
      severity: "error",
      message: `expected at most ${certificatePairsMax} pairs, found ${pairs}: the rest is not read`,
    });
  return problems;
}
