/**
 * Acme: certificates that arrive and renew by themselves. Knows which names want one, and when; orders run a few at a time
 * under the lock of the state folder, and the pairs go live by the certificate folder.
 */
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Settings } from "../../config/settings.ts";
import { Challenges, isToken } from "../../data/acme/challenges.ts";
import { describe } from "../../lib/cause.ts";
import {
  acmeFreshMs,
  acmeLockAgainMs,
  acmeLockWaitMs,
  acmeLookMs,
  acmeOrdersMax,
  acmeQuietMs,
  acmeRateLimitPauseMs,
  acmeWishesMax,
  certificateSliceMs,
} from "../../lib/limits.ts";
import { stateFolder } from "../certificates/folders.ts";
import { showDay } from "../certificates/describe.ts";
import { forgetAccount, openAccount, type Account } from "./account.ts";
import { AcmeError } from "./acme-error.ts";
import { AcmeClient } from "./client.ts";
import { newCertificateKey } from "./csr.ts";
import { directoryUrl } from "./directories.ts";
import { readIfThere, writePrivately } from "./files.ts";
import { FolderLock } from "./lock.ts";
import { isOrderable, wantedNames, type WantedNames } from "./names.ts";
import { obtain } from "./order.ts";
import {
  certificateFiles,
  orderDueMs,
  pendingKeyFile,
  readEntry,
  renewalInfoDueMs,
  renewalOf,
  writeRecord,
  type Entry,
} from "./record.ts";
import { askRenewalInfo } from "./renewal-info.ts";
import { backOffMs, renewBeforeDaysDefault } from "./schedule.ts";
import { readOrdered, stateOf, type AcmeState } from "./state.ts";
import { covers } from "./surroundings.ts";

export interface AcmeOptions {
  /** asked anew at every turn: SIGHUP may change them */
  settings(): Settings;
  /** hosts of the rules, patterns and all */
  hosts(): readonly string[];
  /** whether requests for this name have a host in the rules, other than DEFAULT */
  isRouted(name: string): boolean;
  /** names and wildcards that certificates cover until then which somebody has put there */
  covered(untilMs: number): ReadonlySet<string>;
  /** whether the TLS port can answer TLS-ALPN-01 */
  provesInHandshake(): boolean;
  /** the responder has to stand before the routes, or need not any more */
  onAnswering(isOn: boolean): void;
  /** a new pair lies in the folder */
  onIssued(): Promise<void>;
  log(level: "error" | "warn" | "info" | "debug", target: string, text: string): void;
}

/** A wish that is refused before any server is asked. */
export class AcmeRefusal extends Error {}

/** What one connection to a server is made of. */
interface Session {
  readonly id: string;
  readonly client: AcmeClient;
  account?: Promise<Account>;
}

const dayMs = 24 * 3_600_000;

export class Acme {
  readonly challenges: Challenges;
  readonly #options: AcmeOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();
  #lock: FolderLock | undefined;
  #session: Session | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #isOn = false;
  /** asked for by hand although main.yaml has no `acme` */
  #byHand = false;
  #skipped: ReadonlyMap<string, string> = new Map();
  /** nothing is ordered before; performance.now(), which nobody sets back */
  #pausedUntilMs = 0;
  /** of the server as a whole, in a row */
  #failures = 0;
  #folder = "";
  #wishes = 0;

  constructor(options: AcmeOptions) {
    this.#options = options;
    this.challenges = new Challenges(() => join(this.#folder, "challenges"));
  }

  /** The rules or settings are new; also begins. */
  changed(): void {
    if (this.#stop.signal.aborted) return;
    const { settings, onAnswering } = this.#options;
    this.#folder = stateFolder(settings());
    const isOn = this.#byHand || settings().acme !== undefined || readOrdered(this.#folder).length > 0;
    if (isOn !== this.#isOn) onAnswering((this.#isOn = isOn));
    clearTimeout(this.#timer);
    if (isOn) this.#schedule(acmeQuietMs);
  }

  /** Ends everything under way; an order is taken up again by the next process. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#queue;
  }

  /** Every name that wants a certificate, in name order. */
  states(): AcmeState[] {
    const { acme } = this.#options.settings();
    const states = [...this.#entries.values()].map((entry) => stateOf(entry, acme?.renew_before_days, Date.now()));
    return states.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * The original's `/acme_create`: loads the account, or makes one.
   * @returns its URL
   * @throws AcmeError, or the error of the file system
   */
  async createAccount(): Promise<string> {
    this.#begin();
    return this.#wish(async () => (await this.#account(this.#connect())).url);
  }

  /**
   * The original's `/acme_order/NAME`: orders a certificate unless there is a fresh one, and keeps it renewed from now on.
   * @param force orders although it is fresh
   * @throws AcmeRefusal when the name is none of ours, AcmeError when the order failed
   */
  async order(name: string, force = false): Promise<"issued" | "fresh"> {
    const wanted = name.trim().toLowerCase().replace(/\.$/, "");
    this.#begin();
    if (!isOrderable(wanted))
      throw new AcmeRefusal(`"${name}" is not a DNS name that a certificate can be ordered for`);
    if (!this.#isOurs(wanted))
      throw new AcmeRefusal(
        `"${wanted}" is no host of the rules: certificates are ordered for configured hosts and for acme: {domains} only`,
      );
    return this.#wish(() => this.#orderNow(wanted, force));
  }

  #begin(): void {
    if (this.#stop.signal.aborted) throw new AcmeRefusal("the proxy is stopping");
    this.#byHand = true;
    if (!this.#isOn) this.changed();
  }

  #isOurs(name: string): boolean {
    return this.#options.settings().acme?.domains?.includes(name) || this.#options.isRouted(name);
  }

  async #orderNow(name: string, force: boolean): Promise<"issued" | "fresh"> {
    const endMs = performance.now() + acmeLockWaitMs;
    while (!this.#acquire()) {
      if (performance.now() > endMs) throw new AcmeRefusal("another replica is ordering certificates: try again later");
      await Bun.sleep(250);
    }
    try {
      const ordered = readOrdered(this.#folder);
      if (!ordered.includes(name)) {
        const names = [...ordered, name].sort();
        writePrivately(join(this.#folder, "domains.json"), `${JSON.stringify(names, null, 2)}\n`);
      }
      await this.#follow();
      const entry = readEntry(this.#folder, name);
      this.#entries.set(name, entry);
      const renewMs = renewalOf(entry, this.#options.settings().acme?.renew_before_days);
      if (!force && renewMs !== undefined && Date.now() < renewMs) return "fresh";
      await this.#attempt(entry);
      return "issued";
    } finally {
      this.#lock!.release();
      this.#scheduleNext();
    }
  }

  /** Something that somebody waits for. */
  async #wish<T>(work: () => Promise<T>): Promise<T> {
    if (this.#wishes >= acmeWishesMax) throw new AcmeRefusal(`${this.#wishes} orders are waiting: try again later`);
    this.#wishes++;
    try {
      return await this.#run(work);
    } finally {
      this.#wishes--;
    }
  }

  /** One piece of work at a time. */
  #run<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work);
    this.#queue = run.catch(() => {});
    return run;
  }

  #schedule(waitMs: number): void {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#run(() => this.#look()), Math.min(waitMs, acmeLookMs)).unref();
  }

  #scheduleNext(): void {
    const nowMs = Date.now();
    let nextMs = nowMs + acmeLookMs;
    for (const entry of this.#entries.values()) nextMs = Math.min(nextMs, this.#dueMs(entry));
    this.#schedule(Math.max(nextMs - nowMs, this.#pausedUntilMs - performance.now(), acmeQuietMs));
  }

  #dueMs(entry: Entry): number {
    const { acme } = this.#options.settings();
    return Math.min(orderDueMs(entry, acme?.renew_before_days), renewalInfoDueMs(entry));
  }

  /** Goes through the names and does what is due, at most a few orders: others want the queue and the lock too. */
  async #look(): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#follow();
      if (this.#due().length > 0 && performance.now() >= this.#pausedUntilMs) {
        if (!this.#acquire()) return this.#schedule(acmeLockAgainMs * (0.8 + 0.4 * Math.random()));
        try {
          await this.#work();
        } finally {
          this.#lock!.release();
        }
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#pause(error);
      const waitS = Math.round((this.#pausedUntilMs - performance.now()) / 1000);
      log("error", "acme", `${messageOf(error)}; tried again in ${waitS} s`);
    }
    this.#scheduleNext();
  }

  #due(): Entry[] {
    const nowMs = Date.now();
    return [...this.#entries.values()]
      .filter((entry) => this.#dueMs(entry) <= nowMs)
      .sort((a, b) => a.record.failures - b.record.failures || this.#dueMs(a) - this.#dueMs(b));
  }

  async #work(): Promise<void> {
    // A replica may have done it while we waited for the lock.
    for (const { name } of this.#due().slice(0, acmeOrdersMax)) this.#entries.set(name, readEntry(this.#folder, name));
    const due = this.#due().slice(0, acmeOrdersMax);
    if (due.length === 0) return;
    const session = this.#connect();
    await this.#account(session);
    this.#failures = 0;
    const results = await Promise.allSettled(due.map((entry) => this.#serve(session, entry)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #serve({ client }: Session, entry: Entry): Promise<void> {
    const { log, settings } = this.#options;
    const nowMs = Date.now();
    if (renewalInfoDueMs(entry) <= nowMs) {
      const { id } = entry.held!;
      const failed = (error: unknown) => {
        log("debug", "acme", `${entry.name}: ${messageOf(error)}`);
        return { window: entry.record.renewal?.window, checkMs: nowMs + acmeLookMs };
      };
      const { window, checkMs } = await askRenewalInfo(client, id || undefined, nowMs).catch(failed);
      this.#keep(entry, { renewal: { id, ...(window && { window }), checkMs } });
    }
    if (orderDueMs(entry, settings().acme?.renew_before_days) > Date.now()) return;
    await this.#attempt(entry).catch((error: unknown) => {
      // What a server refused is in the record and in the log; a folder that cannot be written to stops everything.
      if (!(error instanceof AcmeError)) throw error;
    });
  }

  /** Orders once. @throws AcmeError after it has been put down */
  async #attempt(entry: Entry): Promise<void> {
    const { log } = this.#options;
    entry.ordering = true;
    try {
      await this.#obtainOnce(entry).catch((error: unknown) => {
        if (!(error instanceof AcmeError) || error.type !== "accountDoesNotExist") throw error;
        // The server has forgotten the account: with the same key it makes another one.
        this.#forgetAccount();
        this.#keep(entry, { order: "" });
        return this.#obtainOnce(entry);
      });
    } catch (error) {
      if (this.#stop.signal.aborted) throw error;
      this.#failed(entry, error);
      throw error;
    } finally {
      entry.ordering = false;
    }
    log("info", "acme", `${entry.name}: certificate until ${showDay(entry.held!.notAfterMs)}`);
    await this.#options.onIssued();
  }

  async #obtainOnce(entry: Entry): Promise<void> {
    const session = this.#connect();
    await this.#obtain(session, await this.#account(session), entry);
  }

  async #obtain(session: Session, account: Account, entry: Entry): Promise<void> {
    const { acme } = this.#options.settings();
    const { name, record, held } = entry;
    const challenge = acme?.challenge ?? "http-01";
    if (challenge === "tls-alpn-01" && !this.#options.provesInHandshake())
      throw new AcmeError(
        "tls-alpn-01 needs proxy_address_tls on the socket engine, and a restart once it is set: or use challenge: http-01",
      );
    const kept = record.directory === session.client.options.url && record.order !== "";
    const keyFile = pendingKeyFile(this.#folder, name);
    const keptKey = kept ? readIfThere(keyFile) : undefined;
    const keyPem = keptKey ?? newCertificateKey();
    if (keptKey === undefined) writePrivately(keyFile, keyPem);
    const certPem = await obtain({
      client: session.client,
      account,
      challenge,
      challenges: this.challenges,
      name,
      keyPem,
      resume: keptKey === undefined ? "" : record.order,
      replaces: (held && (await session.client.directory()).renewalInfo && held.id) || "",
      signal: this.#stop.signal,
      begun: (order) => this.#keep(entry, { order, directory: session.client.options.url }),
    });
    const { crt, key } = certificateFiles(this.#folder, name);
    // The key first: a reader in between sees a pair that does not match and waits for its other half.
    writePrivately(key, keyPem);
    writePrivately(crt, certPem);
    rmSync(keyFile, { force: true });
    const { held: fresh } = readEntry(this.#folder, name);
    entry.held = fresh;
    const termMs = fresh ? fresh.notAfterMs - fresh.notBeforeMs : 0;
    const nextTryMs = Date.now() + Math.min(acmeFreshMs, termMs / 10);
    this.#keep(entry, { order: "", failures: 0, trouble: "", nextTryMs, triedMs: Date.now() });
  }

  #failed(entry: Entry, error: unknown): void {
    const { log } = this.#options;
    const failures = entry.record.failures + 1;
    const waitMs = backOffMs(failures, error, Math.random());
    const trouble = messageOf(error);
    // What has been refused is begun anew.
    const isOpen = !(error instanceof AcmeError) || (error.interrupted && failures < 3);
    this.#keep(entry, {
      failures,
      trouble,
      nextTryMs: Date.now() + waitMs,
      triedMs: Date.now(),
      ...(!isOpen && { order: "" }),
    });
    if (error instanceof AcmeError && error.rateLimited) this.#pausedUntilMs = performance.now() + acmeRateLimitPauseMs;
    const until = new Date(entry.record.nextTryMs).toISOString().slice(0, 16);
    log("warn", "acme", `no certificate: ${trouble}; tried again after ${until}Z`);
  }

  #keep(entry: Entry, change: Partial<Entry["record"]>): void {
    entry.record = { ...entry.record, ...change };
    writeRecord(this.#folder, entry);
  }

  /** The server as a whole, or the folder, is in trouble. */
  #pause(error: unknown): void {
    this.#failures++;
    this.#pausedUntilMs = performance.now() + backOffMs(this.#failures, error, Math.random());
    for (const entry of this.#entries.values()) {
      if (!entry.held) entry.record = { ...entry.record, trouble: messageOf(error) };
    }
  }

  /** Brings the entries in line with the names that are wanted. @throws the error of the file system */
  async #follow(): Promise<void> {
    const { settings, hosts, isRouted, log } = this.#options;
    const { acme } = settings();
    const untilMs = Date.now() + (acme?.renew_before_days ?? renewBeforeDaysDefault) * dayMs;
    const covered = this.#options.covered(untilMs);
    const wanted: WantedNames = wantedNames({
      acme,
      hosts: hosts(),
      isRouted,
      ordered: readOrdered(this.#folder),
      isCovered: (name) => !this.#entries.get(name)?.held && covers(covered, name),
    });
    for (const [name, reason] of wanted.skipped)
      if (this.#skipped.get(name) !== reason) log("info", "acme", `${name} gets no certificate: ${reason}`);
    this.#skipped = wanted.skipped;
    const names = new Set(wanted.names);
    for (const name of this.#entries.keys()) if (!names.has(name)) this.#entries.delete(name);
    let sliceMs = performance.now();
    for (const name of names) {
      if (this.#entries.has(name)) continue;
      this.#entries.set(name, readEntry(this.#folder, name));
      // Thousands of certificates take seconds to read: requests come first.
      if (performance.now() - sliceMs < certificateSliceMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceMs = performance.now();
    }
  }

  #acquire(): boolean {
    const file = join(this.#folder, "acme.lock");
    if (this.#lock?.file !== file) this.#lock = new FolderLock(file);
    if (!this.#lock.acquire()) return false;
    try {
      this.#sweep();
    } catch (error) {
      this.#lock.release();
      throw error;
    }
    return true;
  }

  /** Whoever holds the lock is the only one with orders: tokens that lie there are of a process that was killed. */
  #sweep(): void {
    try {
      const folder = this.challenges.folder();
      // What else lies there (`lost+found`, a backup's folder) is none of ours.
      for (const file of readdirSync(folder, { withFileTypes: true }))
        if (file.isFile() && isToken(file.name)) rmSync(join(folder, file.name), { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }

  /** The client for the settings as they are now. */
  #connect(): Session {
    const { acme } = this.#options.settings();
    const url = directoryUrl(acme?.directory);
    const ca = acme?.ca_file === undefined ? undefined : readFileSync(acme.ca_file, "utf8");
    const id = JSON.stringify([url, ca, acme?.email, acme?.eab?.key_id, this.#folder]);
    if (this.#session?.id !== id)
      this.#session = { id, client: new AcmeClient({ url, ca, signal: this.#stop.signal }) };
    return this.#session;
  }

  #account(session: Session): Promise<Account> {
    const { acme } = this.#options.settings();
    session.account ??= openAccount(session.client, {
      folder: this.#folder,
      email: acme?.email,
      eab: acme?.eab,
      log: (level, text) => this.#options.log(level, "acme", text),
    }).catch((error: unknown) => {
      delete session.account;
      throw error;
    });
    return session.account;
  }

  #forgetAccount(): void {
    if (!this.#session) return;
    forgetAccount(this.#session.client, this.#folder);
    this.#session = undefined;
  }
}

function messageOf(error: unknown): string {
  const isPlain = error instanceof AcmeError || (error as NodeJS.ErrnoException).syscall !== undefined;
  return isPlain ? (error as Error).message : describe(error);
}
