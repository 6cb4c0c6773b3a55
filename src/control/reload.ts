/**
 * Reload: the one door through which rules come in: read, parse, check, merge with what sources bring, compile, publish.
 * A failure at any step changes nothing, and is told once.
 */
import type { Problem } from "../config/problem.ts";
import type { SourceText } from "../config/read-text.ts";
import { fileProblem } from "../config/report.ts";
import type { Settings } from "../config/settings.ts";
import type { Compiled } from "../data/routing/compile.ts";
import { readRuleFiles } from "../data/routing/load-rules.ts";
import type { Rules } from "../data/routing/rules.ts";
import { discoverySummaryMs, summaryMembersMax, summaryWaitMs } from "../lib/limits.ts";
import type { GivenPair } from "./certificates/store.ts";
import { describeChanges, emptyOutline, outline, plural, type Outline } from "./changes.ts";
import { compileOn } from "./compile-on.ts";
import { Discovery, type Found } from "./discovery/discovery.ts";
import type { Fleet } from "./fleet.ts";
import { HealthMonitor } from "./health/monitor.ts";
import { History, type Origin } from "./history.ts";
import { ReloadCounts } from "./metrics/reload-counts.ts";
import { parseRules, type RuleSources } from "./parse.ts";
import { routeChanges, type RouteChanges } from "./route-changes.ts";

/** Rules that are in force, or would be. */
export interface Applied {
  readonly kind: "applied";
  readonly version: string;
  /** the version that was in force before; "" = none */
  readonly before: string;
  readonly changes: string;
  readonly routes: RouteChanges;
  readonly problems: readonly Problem[];
}

export interface Refused {
  readonly kind: "refused";
  readonly problems: readonly Problem[];
}

export type ReloadResult = Applied | Refused | { readonly kind: "same" };

/** Rules that come from somebody instead of from the files. */
export interface Push {
  readonly main: SourceText;
  /** conf.d belongs to the files: a pushed set has none, unless it is to become the file or was one before */
  readonly confd?: readonly SourceText[];
  readonly origin: Exclude<Origin, "files">;
  /** only say what would happen */
  readonly dryRun: boolean;
  /** Makes the text the file's, once it is in force. @returns why that failed, or undefined */
  save?(): string | undefined;
}

export type PushResult = Refused | (Applied & { readonly unsaved?: string | undefined });

/** How the last load went. */
export interface LastLoad {
  /** milliseconds since 1970 */
  readonly timeMs: number;
  readonly ok: boolean;
  readonly problems: readonly Problem[];
}

export interface ReloaderOptions {
  readonly fleet: Fleet;
  settings(): Settings;
  readonly env: Record<string, string | undefined>;
  /** folder of main.yaml */
  readonly folder: string;
  /** from `loadSettings` */
  readonly stickySecondsLegacy?: number | undefined;
  /** rules given as text instead of files */
  readonly text?: { readonly name: string; readonly text: string };
  readonly stickyKey: Uint8Array;
  /** of the TLS listener, once it is open: the settings may leave the choice to the system */
  tlsPort(): number | undefined;
  /** false once it is open on an engine that cannot tell them */
  clientCertificates(): boolean;
  /** a new table is in force */
  published?(): void;
  /** the certificates that sources have brought */
  given?(pairs: readonly GivenPair[]): void;
  log(level: "error" | "warn" | "info" | "debug", target: string, text: string): void;
  /** the first summary waits for it */
  readonly listening: Promise<void>;
  /** one line for the summary: what is being listened on */
  listeners(): string;
}

export class Reloader {
  readonly monitor: HealthMonitor;
  readonly discovery: Discovery;
  readonly counts = new ReloadCounts();
  readonly #options: ReloaderOptions;
  /** of the last summary */
  #told: Outline = emptyOutline;
  readonly #history = new History();
  /** as written, and the version of that */
  #written: { readonly rules: Rules; readonly version: string } | undefined;
  /** in force: as written, with what sources bring */
  #rules: Rules | undefined;
  /** remarks of the last compilation */
  #remarks: readonly string[] = [];
  /** why the last change that sources brought is not in force; "" = it is */
  #refused = "";
  #last: LastLoad | undefined;
  /** the files that were applied or refused last: the same text is not told twice */
  #lastSources = "";
  /** in force instead of the files, until these change */
  #pushed: RuleSources | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #summaries = 0;
  #telling: NodeJS.Timeout | undefined;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    const { fleet } = options;
    this.monitor = new HealthMonitor({
      onFact(fact) {
        fleet.plane.ledger.apply(fact, performance.now());
        fleet.fact(fact);
      },
      onDetected(name, wire) {
        fleet.publisher.detected(name, wire);
        fleet.detected(name, wire);
      },
      log: (level, text) => options.log(level, "health", text),
    });
    this.discovery = new Discovery({ env: options.env, log: options.log, onChange: () => this.refresh() });
  }

  /**
   * Reads the rules and puts them into force. Runs are never concurrent.
   * @param forced apply even if no byte has changed (SIGHUP: settings may have)
   */
  load(forced = false): Promise<ReloadResult> {
    return this.#inTurn(() => this.#counted(() => this.#load(forced)));
  }

  /** Puts into force what sources have brought since; nothing is read again. */
  refresh(): Promise<void> {
    return this.#inTurn(() => this.#refresh());
  }

  /** Puts rules into force that somebody sent. A failure at any step changes nothing. */
  push(push: Push): Promise<PushResult> {
    return this.#inTurn(() => (push.dryRun ? this.#push(push) : this.#counted(() => this.#push(push))));
  }

  /** in force, with what sources bring; undefined before the first load */
  get rules(): Rules | undefined {
    return this.#rules;
  }

  get history(): Pick<History, "list" | "find"> {
    return this.#history;
  }

  /** the last attempt that was no dry run */
  get last(): LastLoad | undefined {
    return this.#last;
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(job);
    this.#queue = run.catch(() => {});
    return run;
  }

  /** Files to watch. */
  watched(): { files: string[]; folders: string[] } {
    const file = this.#options.settings().upstreams_conf;
    return { files: [file], folders: [`${file.slice(0, file.lastIndexOf("/"))}/conf.d`] };
  }

  stop(): void {
    clearTimeout(this.#telling);
    this.discovery.stop();
    this.monitor.stop();
  }

  async #counted<R extends ReloadResult>(job: () => Promise<R>): Promise<R> {
    const beganMs = performance.now();
    let result: R | undefined;
    try {
      return (result = await job());
    } finally {
      this.counts.note(result?.kind, beganMs);
    }
  }

  async #load(forced: boolean): Promise<ReloadResult> {
    const read = this.#readFiles();
    const fingerprint = JSON.stringify(read);
    const unchanged = fingerprint === this.#lastSources;
    if (unchanged && !forced) return { kind: "same" };
    this.#lastSources = fingerprint;
    if (unchanged && this.#pushed) return this.#remember(await this.#apply(this.#pushed, "push"));
    const { main, confd, problems } = read;
    if (problems.length > 0) return this.#remember({ kind: "refused", problems });
    const result = this.#remember(await this.#apply({ main, confd }, "files"));
    if (result.kind === "applied") this.#pushed = undefined;
    return result;
  }

  async #push({ main, confd, origin, dryRun, save }: Push): Promise<PushResult> {
    const files = save ? this.#readFiles().confd : undefined;
    const sources: RuleSources = { main, confd: files ?? confd ?? [] };
    if (dryRun) return this.#apply(sources, origin, true);
    const result = this.#remember(await this.#apply(sources, origin));
    if (result.kind === "refused") return result;
    this.#pushed = sources;
    if (!save) return result;
    const unsaved = save();
    if (unsaved !== undefined) return { ...result, unsaved };
    // The watch will find what is in force already.
    this.#pushed = undefined;
    this.#lastSources = JSON.stringify(this.#readFiles());
    return result;
  }

  #readFiles(): RuleSources & { problems: Problem[] } {
    const { settings, text } = this.#options;
    return text ? { main: { file: text.name, text: text.text }, confd: [], problems: [] } : readRuleFiles(settings());
  }

  #remember<R extends Applied | Refused>(result: R): R {
    this.#last = { timeMs: Date.now(), ok: result.kind === "applied", problems: result.problems };
    return result;
  }

  async #apply(sources: RuleSources, origin: Origin, dryRun = false): Promise<Applied | Refused> {
    const { settings, env, folder, log, stickySecondsLegacy, fleet } = this.#options;
    const given = { settings: settings(), folder, env, stickySecondsLegacy };
    const { rules, problems } = await parseRules(sources, given, origin !== "files");
    if (!rules) return { kind: "refused", problems };
    const version = hashOf(rules);
    const remarks: string[] = [];
    if (!dryRun) this.discovery.follow(rules);
    const found = this.discovery.find(rules);
    let compiled: Compiled;
    try {
      const fullVersion = versionOf(version, rules, found.rules);
      compiled = this.#compile(found.rules, fullVersion, remarks, dryRun);
      if (!dryRun) await fleet.prepare({ rules: found.rules, version: fullVersion });
    } catch (error) {
      if (!dryRun && this.#written) this.discovery.follow(this.#written.rules);
      // A folder or CA file went away between the check and now, or a worker cannot take the rules.
      return { kind: "refused", problems: [fileProblem(sources.main.file, (error as Error).message)] };
    }
    const outlines = { before: this.#rules ? outline(this.#rules) : emptyOutline, after: outline(found.rules) };
    const applied: Applied = {
      kind: "applied",
      version,
      before: this.#history.list()[0]?.version ?? "",
      changes: describeChanges(outlines.before, outlines.after),
      routes: routeChanges(this.#rules, found.rules, outlines),
      problems:
        origin === "files"
          ? problems
          : [...problems, ...remarks.map((remark) => fileProblem(sources.main.file, remark, "warning"))],
    };
    if (dryRun) return applied;
    if (origin === "files") for (const remark of remarks) log("warn", "config", remark);
    this.#written = { rules, version };
    this.#remarks = remarks;
    this.#history.add({ version, origin, timeMs: Date.now(), changes: applied.changes, sources });
    this.#enforce(found, compiled);
    void this.#summarise();
    return applied;
  }

  async #refresh(): Promise<void> {
    if (!this.#written) return;
    const { rules, version: written } = this.#written;
    const { fleet, log } = this.#options;
    const found = this.discovery.find(rules);
    const version = versionOf(written, rules, found.rules);
    if (version === fleet.plane.table.version) {
      // Certificates and remarks may change without a route.
      this.discovery.use(found);
      return this.#options.given?.(found.pairs);
    }
    const remarks: string[] = [];
    try {
      const compiled = this.#compile(found.rules, version, remarks, false);
      await fleet.prepare({ rules: found.rules, version });
      this.#enforce(found, compiled);
      this.#refused = "";
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#refused) log("error", "discovery", `${message}: what is in force stays`);
      this.#refused = message;
      return;
    }
    // Sources change all the time, and what was wrong before is wrong still.
    for (const remark of remarks) if (!this.#remarks.includes(remark)) log("warn", "config", remark);
    this.#remarks = remarks;
    this.#summariseSoon();
  }

  #enforce(found: Found, compiled: Compiled): void {
    const { fleet } = this.#options;
    this.discovery.use(found);
    this.#rules = found.rules;
    fleet.publisher.publish(compiled);
    fleet.commit();
    this.counts.versions++;
    this.monitor.follow([...compiled.targets]);
    this.#options.published?.();
    this.#options.given?.(found.pairs);
  }

  /** @param dryRun leaves no trace in what outlives tables */
  #compile(rules: Rules, version: string, remarks: string[], dryRun: boolean): Compiled {
    const { settings, fleet, stickyKey, log, tlsPort, clientCertificates } = this.#options;
    return compileOn(fleet.plane, rules, version, {
      settings: settings(),
      stickyKey,
      tlsPort,
      clientCertificates,
      remark: (text) => void remarks.push(text),
      warn: (text) => log("warn", "config", text),
      dryRun,
    });
  }

  /** One summary for all that sources have changed in a while. */
  #summariseSoon(): void {
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined;
      this.#tellSummary(false);
    }, discoverySummaryMs).unref();
  }

  /** One summary per load, as soon as the first verdicts are in. A later load's summary replaces one still waiting. */
  async #summarise(): Promise<void> {
    const turn = ++this.#summaries;
    await this.#options.listening;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, summaryWaitMs)));
    await Promise.race([this.monitor.settled(), enough]);
    clearTimeout(timer);
    if (turn === this.#summaries) this.#tellSummary(true);
  }

  /** @param unchanged told even if nothing has changed */
  #tellSummary(unchanged: boolean): void {
    const { fleet, log, listeners } = this.#options;
    const { table } = fleet.plane;
    const after = outline(this.#rules!);
    const changes = describeChanges(this.#told, after);
    this.#told = after;
    if (changes === "nothing" && !unchanged) return;
    const down = new Map<string, string>();
    let members = 0;
    for (const route of table.routes) {
      for (const { endpoint, health } of route.pool?.members ?? []) {
        members++;
        if (health.state === "down") down.set(endpoint.name, health.cause);
      }
    }
    const hosts = table.hosts.size + table.wildcards.length + (table.fallback ? 1 : 0);
    const shown = [...down].slice(0, summaryMembersMax).map(([name, cause]) => `${name} ${cause}`);
    const rest = down.size > shown.length ? `; and ${down.size - shown.length} more` : "";
    const state = down.size === 0 ? "all servers up or not checked" : `down: ${shown.join("; ")}${rest}`;
    log(
      "info",
      "rules",
      `version ${table.version} in force: ${listeners()}, ${plural(hosts, "host")}, ${plural(table.routes.length, "route")}, ${plural(members, "member")}, ${state}; changed: ${changes}`,
    );
  }
}

/** What sources bring is told by a second hash: the first one stays that of what was written, which can be rolled back to. */
function versionOf(written: string, rules: Rules, found: Rules): string {
  return found === rules ? written : `${written}.${hashOf(found).slice(0, 8)}`;
}

function hashOf(rules: Rules): string {
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(rules)).digest("hex").slice(0, 12);
}
