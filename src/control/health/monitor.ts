/** HealthMonitor: asks every target on its own clock and tells what changed. */
import { showAddress, type DialAddress } from "../../lib/address.ts";
import {
  detectWaitMs,
  excusedAgainMs,
  excusedChecksMax,
  loopLagEveryMs,
  probeSlowMs,
  probesInFlightMax,
  probesSlowInFlightMax,
  stalledShare,
} from "../../lib/limits.ts";
import { LoopLag } from "../../lib/loop-lag.ts";
import { descriptorsLeft } from "../../lib/descriptors.ts";
import { names, type Resolver } from "../../lib/resolve.ts";
import type { Probe, Wire } from "../../data/upstream/endpoint.ts";
import type { Fact } from "../../data/upstream/ledger.ts";
import { detect } from "./detect.ts";
import { Lanes } from "./lanes.ts";
import { askHealth, type Verdict } from "./probe.ts";
import { nextDelayMs, Streak } from "./streak.ts";

/** One health question, to be asked again and again. */
export interface Target {
  /** from `healthKey`: everything about the question */
  readonly key: string;
  readonly address: DialAddress;
  /** with protocol `auto` the endpoint is asked first what it speaks, with `https` which HTTP */
  readonly probe: Probe;
}

export interface MonitorOptions {
  /** the first verdict of a target, then each change of its state */
  onFact(fact: Fact): void;
  /** what an endpoint speaks: the first result, then each change. undefined = it could not be found out yet */
  onDetected(endpointName: string, wire: Wire | undefined): void;
  /** one line per change: an endpoint is down, is up again */
  log(level: "info" | "warn", text: string): void;
  readonly resolver?: Resolver;
  /** a clock in milliseconds */
  now?(): number;
}

/** What is known at a moment, for someone who joins late: a new worker, the status page. */
export interface Snapshot {
  /** of the targets that have had a verdict */
  readonly facts: readonly Fact[];
  /** what was told of an endpoint, by its name; undefined = it could not be found out */
  readonly wires: ReadonlyMap<string, Wire | undefined>;
}

/** What the targets of one endpoint share. */
interface Site {
  readonly name: string;
  readonly watches: Set<Watch>;
  readonly stop: AbortController;
  /** in force; undefined = ask before the next check */
  wire: Wire | undefined;
  /** what was told last: while an endpoint is down it keeps what it spoke before */
  known: Wire | undefined;
  /** anything was told */
  told: boolean;
  detecting: Promise<Wire> | undefined;
}

class Watch {
  readonly streak = new Streak();
  readonly stop = new AbortController();
  timer: NodeJS.Timeout | undefined;
  last: Verdict | undefined;
  /** why it is down; "" while it is up */
  cause = "";
  lastMs = 0;
  /** checks in a row that told about us rather than about the server */
  excused = 0;
  /** how the log calls it while it is down */
  label = "";

  constructor(
    readonly target: Target,
    readonly site: Site,
  ) {}

  get gone(): boolean {
    return this.stop.signal.aborted;
  }
}

export class HealthMonitor {
  readonly #options: MonitorOptions;
  readonly #now: () => number;
  readonly #resolver: Resolver;
  readonly #lanes = new Lanes(probesInFlightMax, probesSlowInFlightMax);
  readonly #lag = new LoopLag(loopLagEveryMs);
  readonly #watches = new Map<string, Watch>();
  readonly #sites = new Map<string, Site>();
  #waiting: (() => void)[] = [];
  #undecided = 0;
  #stopped = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#now = options.now?.bind(options) ?? (() => performance.now());
    this.#resolver = options.resolver ?? names;
  }

  /**
   * Replaces the targets. Those that stay keep clock and streaks, new ones are asked at once, the others end, also in
   * the middle of a check. After `stop` it does nothing.
   */
  follow(targets: readonly Target[]): void {
    if (this.#stopped) return;
    const wanted = new Set(targets.map(({ key }) => key));
    const unanswered = new Set<string>();
    for (const watch of this.#watches.values()) {
      if (wanted.has(watch.target.key)) continue;
      this.#drop(watch);
      if (!watch.site.told) unanswered.add(watch.site.name);
    }
    for (const target of targets) if (!this.#watches.has(target.key)) this.#add(target);
    // Requests of the table before wait to hear what it speaks, and nobody asks any more.
    for (const name of unanswered) if (!this.#sites.has(name)) this.#options.onDetected(name, undefined);
    this.#release();
  }

  /** Resolves when every present target has had its first verdict, or the monitor has stopped. */
  settled(): Promise<void> {
    if (this.#undecided === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  snapshot(): Snapshot {
    const facts: Fact[] = [];
    for (const { target, streak, cause } of this.#watches.values()) {
      if (streak.up !== undefined) facts.push({ key: target.key, up: streak.up, cause });
    }
    const wires = new Map<string, Wire | undefined>();
    for (const { name, known, told } of this.#sites.values()) if (told) wires.set(name, known);
    return { facts, wires };
  }

  /** Ends everything: timers, checks in flight, their connections. */
  stop(): void {
    this.#stopped = true;
    this.#lanes.clear();
    for (const watch of this.#watches.values()) this.#drop(watch);
    this.#release();
  }

  #add(target: Target): void {
    const name = showAddress(target.address);
    let site = this.#sites.get(name);
    if (!site) {
      site = {
        name,
        watches: new Set(),
        stop: new AbortController(),
        wire: undefined,
        known: undefined,
        told: false,
        detecting: undefined,
      };
      this.#sites.set(name, site);
    }
    const watch = new Watch(target, site);
    this.#watches.set(target.key, watch);
    site.watches.add(watch);
    this.#undecided++;
    // The endpoint may be new to the data plane although it is not new here.
    if ((target.probe.protocol === "auto" || target.probe.protocol === "https") && site.told)
      this.#options.onDetected(name, site.known);
    this.#lanes.run(false, () => this.#check(watch));
  }

  #drop(watch: Watch): void {
    const { site, target } = watch;
    clearTimeout(watch.timer);
    watch.stop.abort();
    this.#watches.delete(target.key);
    site.watches.delete(watch);
    if (watch.streak.up === undefined) this.#undecided--;
    if (site.watches.size > 0) return;
    site.stop.abort();
    this.#sites.delete(site.name);
  }

  async #check(watch: Watch): Promise<void> {
    if (watch.gone) return;
    const startMs = this.#now();
    const stalledMs = this.#lag.stalledMs;
    const unwatch = this.#lag.watch();
    const verdict = await this.#ask(watch);
    unwatch();
    if (watch.gone) return;
    watch.lastMs = this.#now() - startMs;
    const first = watch.streak.up === undefined;
    // A check that found no descriptor of ours free has asked nobody, and one in which we stood still ourselves tells
    // about us.
    const answered = verdict.up || verdict.status !== undefined;
    const stalled = this.#lag.stalledMs - stalledMs > watch.target.probe.timeoutMs * stalledShare;
    const timedOut = watch.lastMs >= Math.min(watch.target.probe.timeoutMs, detectWaitMs);
    watch.excused = answered || !stalled || !timedOut ? 0 : watch.excused + 1;
    const excused = watch.excused > 0 && watch.excused <= excusedChecksMax;
    if (answered || (descriptorsLeft() && !excused)) this.#note(watch, verdict);
    const delayMs = excused
      ? excusedAgainMs
      : nextDelayMs(watch.target.probe.intervalMs, watch.lastMs, first, Math.random());
    watch.timer = setTimeout(() => this.#lanes.run(watch.lastMs > probeSlowMs, () => this.#check(watch)), delayMs);
    watch.timer.unref();
  }

  async #ask(watch: Watch): Promise<Verdict> {
    const { site, target } = watch;
    const { address, probe } = target;
    const options = { signal: watch.stop.signal, resolver: this.#resolver };
    const https = probe.protocol === "https";
    if (probe.protocol !== "auto" && !https) return askHealth(address, probe, probe.protocol, options);
    let found: Wire;
    try {
      found = site.wire ?? (await (site.detecting ??= this.#detect(site, target)));
    } catch (error) {
      if (!https) return { up: false, cause: (error as Error).message };
      found = "https";
    }
    // With `https` it must be TLS; only which HTTP is found out, by ALPN.
    const wire = https && found !== "h2" ? "https" : found;
    const verdict = await askHealth(address, probe, wire, options);
    // Without an answer it may speak something else by the next check; and 400 is what a server that has become TLS
    // answers plain HTTP, looked into once.
    const changed = verdict.status === 400 && wire === "http" && watch.last?.status !== 400 && watch.last !== undefined;
    if ((verdict.status === undefined || changed) && site.wire === found) site.wire = undefined;
    return verdict;
  }

  async #detect(site: Site, { address, probe }: Target): Promise<Wire> {
    try {
      const timeoutMs = Math.min(probe.timeoutMs, detectWaitMs);
      const { signal } = site.stop;
      const wire = await detect(address, { serverName: probe.serverName, timeoutMs, signal, resolver: this.#resolver });
      this.#tell(site, wire);
      return wire;
    } catch (error) {
      this.#tell(site, undefined);
      throw error;
    } finally {
      site.detecting = undefined;
    }
  }

  #tell(site: Site, wire: Wire | undefined): void {
    if (site.stop.signal.aborted) return;
    site.wire = wire;
    if (site.told && (wire === undefined || wire === site.known)) return;
    site.told = true;
    site.known = wire;
    this.#options.onDetected(site.name, wire);
  }

  #note(watch: Watch, verdict: Verdict): void {
    const { streak, target } = watch;
    const first = streak.up === undefined;
    watch.last = verdict;
    const changed = streak.note(verdict.up, target.probe.rise, target.probe.fall);
    if (streak.up) watch.cause = "";
    else if (!verdict.up) watch.cause = verdict.cause;
    if (!changed) return;
    this.#options.onFact({ key: target.key, up: verdict.up, cause: watch.cause });
    if (!verdict.up) this.#logDown(watch, verdict);
    else if (!first) this.#logUp(watch);
    if (!first) return;
    this.#undecided--;
    this.#release();
  }

  // Many routes may ask one endpoint, each by its own path: trouble of the connection is logged once for all of them.
  #logDown(watch: Watch, { status, cause }: Verdict): void {
    const { site, target } = watch;
    const { method, host, path } = target.probe;
    const label =
      status === undefined || site.watches.size === 1 ? site.name : `${site.name} (${method} ${host}${path})`;
    const known = [...site.watches].some((other) => other.label === label);
    watch.label = label;
    if (!known) this.#options.log("warn", `${label} is down: ${cause}`);
  }

  #logUp(watch: Watch): void {
    const { label, site } = watch;
    watch.label = "";
    const others = [...site.watches].some((other) => other.label === label);
    if (!others) this.#options.log("info", `${label} is up again`);
  }

  #release(): void {
    if (this.#undecided > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
