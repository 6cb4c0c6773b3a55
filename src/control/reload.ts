/**
 * Reload: the one door through which rules come in: read, parse, check, merge with what sources bring, compile, publish.
 * A failure at any step changes nothing, and is told once.
 */
import { readFileSync } from "node:fs";
import type { Problem } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import { trustKey } from "../data/forward/trust.ts";
import type { Plane } from "../data/plane.ts";
import { compile, type CompileContext, type Compiled, type HealthTarget } from "../data/routing/compile.ts";
import { readRuleFiles } from "../data/routing/load-rules.ts";
import type { Rules } from "../data/routing/rules.ts";
import { discoverySummaryMs, summaryMembersMax, summaryWaitMs, tidyAfterReloadMs } from "../lib/limits.ts";
import type { GivenPair } from "./certificates/store.ts";
import { describeChanges, emptyOutline, outline, plural, type Outline } from "./changes.ts";
import { Discovery } from "./discovery/discovery.ts";
import { HealthMonitor } from "./health/monitor.ts";
import { ReloadCounts } from "./metrics/reload-counts.ts";
import { parseRules, type RuleSources } from "./parse.ts";

export type ReloadResult =
  | {
      readonly kind: "applied";
      readonly version: string;
      readonly changes: string;
      readonly problems: readonly Problem[];
    }
  | { readonly kind: "same" }
  | { readonly kind: "refused"; readonly problems: readonly Problem[] };

export interface ReloaderOptions {
  readonly plane: Plane;
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

/** What the settings contribute to a table. */
export function compileSettings(
  settings: Settings,
  stickyKey: Uint8Array,
): Omit<CompileContext, "ledger" | "guardState" | "forwarder" | "version" | "warn" | "readCa"> {
  const { proxy_address_tls: tls } = settings;
  return {
    healthMethod: settings.hc_method,
    healthIntervalSeconds: settings.hc_interval,
    tlsPort: tls && "port" in tls ? () => tls.port : undefined,
    tlsHigh: settings.proxy_tls_grade === "high",
    adminAddress: settings.config_address,
    caFile: settings.ca_file,
    clientCa: settings.client_ca,
    clientAuth: settings.client_auth ?? "require",
    clientCertificates: !tls || settings.listener_engine !== "bun",
    stickyKey,
    masterKey: settings.master_key,
  };
}

export class Reloader {
  readonly monitor: HealthMonitor;
  readonly discovery: Discovery;
  /** sets of rules that went into force since the start */
  versions = 0;
  readonly counts = new ReloadCounts();
  readonly #options: ReloaderOptions;
  readonly #detections = new Map<string, () => void>();
  /** of the last load */
  #loaded: Outline = emptyOutline;
  /** of the last summary */
  #told: Outline = emptyOutline;
  /** the rules of the files, as applied last; sources are merged into them */
  #rules: Rules | undefined;
  /** with what sources brought */
  #merged: Rules | undefined;
  /** why the last change that sources brought is not in force; "" = it is */
  #refused = "";
  /** what the last compilation warned of */
  #warned = new Set<string>();
  /** the sources that were applied or refused last: the same text is not told twice */
  #lastSources = "";
  #queue: Promise<unknown> = Promise.resolve();
  #summaries = 0;
  #tidying: NodeJS.Timeout | undefined;
  #telling: NodeJS.Timeout | undefined;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    const { ledger } = options.plane;
    this.monitor = new HealthMonitor({
      onFact: (fact) => void ledger.apply(fact, performance.now()),
      onDetected: (name, wire) => {
        if (wire) ledger.detected(name, wire);
        this.#detections.get(name)?.();
        this.#detections.delete(name);
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
    return this.#run(() => this.#counted(forced));
  }

  /** Puts into force what sources have brought since; the files are not read again. */
  refresh(): Promise<ReloadResult> {
    return this.#run(() => this.#refresh());
  }

  #run(work: () => ReloadResult | Promise<ReloadResult>): Promise<ReloadResult> {
    const run = this.#queue.then(work);
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

  async #counted(forced: boolean): Promise<ReloadResult> {
    const beganMs = performance.now();
    let result: ReloadResult | undefined;
    try {
      return (result = await this.#load(forced));
    } finally {
      this.counts.note(result?.kind, beganMs);
    }
  }

  async #load(forced: boolean): Promise<ReloadResult> {
    const { settings, env, folder, text, stickySecondsLegacy } = this.#options;
    const read: RuleSources & { problems: Problem[] } = text
      ? { main: { file: text.name, text: text.text }, confd: [], problems: [] }
      : readRuleFiles(settings());
    const fingerprint = JSON.stringify(read);
    if (fingerprint === this.#lastSources && !forced) return { kind: "same" };
    this.#lastSources = fingerprint;
    if (read.problems.length > 0) return { kind: "refused", problems: read.problems };
    const { main, confd } = read;
    const { rules, problems } = await parseRules(
      { main, confd },
      { settings: settings(), folder, env, stickySecondsLegacy },
    );
    if (!rules) return { kind: "refused", problems };
    const before = this.#rules;
    this.discovery.follow(rules);
    const merged = this.discovery.merge(rules);
    const version = versionOf(merged);
    this.#warned.clear();
    const compiled = this.#compile(merged, version, main.file);
    if ("kind" in compiled) {
      if (before) this.discovery.follow(before);
      return compiled;
    }
    this.#rules = rules;
    this.#merged = merged;
    const after = outline(merged);
    const changes = describeChanges(this.#loaded, after);
    this.#loaded = after;
    this.#publish(compiled.table, compiled.targets);
    this.#options.given?.(this.discovery.pairs);
    void this.#summarise();
    return { kind: "applied", version, changes, problems };
  }

  #refresh(): ReloadResult {
    if (!this.#rules) return { kind: "same" };
    const merged = this.discovery.merge(this.#rules);
    const version = versionOf(merged);
    // Certificates may change without a route.
    this.#options.given?.(this.discovery.pairs);
    if (version === this.#options.plane.table.version) return { kind: "same" };
    const compiled = this.#compile(merged, version, "");
    if ("kind" in compiled) {
      const [{ message } = { message: "" }] = compiled.problems;
      if (message !== this.#refused) this.#options.log("error", "discovery", `${message}: what is in force stays`);
      this.#refused = message;
      return compiled;
    }
    this.#refused = "";
    this.#merged = merged;
    this.#publish(compiled.table, compiled.targets);
    this.#summariseSoon();
    return { kind: "applied", version, changes: "", problems: [] };
  }

  #compile(rules: Rules, version: string, file: string): Compiled | (ReloadResult & { kind: "refused" }) {
    const { settings, log, plane, stickyKey } = this.#options;
    const files = new Map<string, string>();
    const warned = new Set<string>();
    try {
      const compiled = compile(rules, {
        ...compileSettings(settings(), stickyKey),
        ...this.#tls(),
        readCa: (file) => files.get(file) ?? files.set(file, readFileSync(file, "utf8")).get(file)!,
        ledger: plane.ledger,
        guardState: plane.guardState,
        forwarder: () => plane.options.forwarder,
        version,
        // Sources change all the time, and what was wrong before is wrong still.
        warn: (remark) => void (warned.add(remark), this.#warned.has(remark) || log("warn", "config", remark)),
      });
      this.#warned = warned;
      return compiled;
    } catch (error) {
      // A folder or CA file went away between the check and now.
      const message = (error as Error).message;
      return {
        kind: "refused",
        problems: [{ severity: "error", code: "file", file, line: 1, column: 1, path: "", message }],
      };
    }
  }

  /** What the settings say of the TLS port, as it turned out. */
  #tls(): Pick<CompileContext, "tlsPort" | "clientCertificates"> {
    const { tlsPort: written, clientCertificates } = compileSettings(this.#options.settings(), this.#options.stickyKey);
    return {
      tlsPort: written && (() => this.#options.tlsPort() ?? written()),
      clientCertificates: clientCertificates && this.#options.clientCertificates(),
    };
  }

  #publish(table: Plane["table"], targets: readonly HealthTarget[]): void {
    const { plane } = this.#options;
    const { ledger } = plane;
    for (const { address, probe } of targets) {
      const endpoint = ledger.endpoint(address);
      if (probe.protocol !== "auto" || endpoint.wire !== undefined || endpoint.detecting) continue;
      endpoint.detecting = new Promise<void>((resolve) => {
        this.#detections.set(endpoint.name, () => {
          endpoint.detecting = undefined;
          resolve();
        });
      });
    }
    plane.metrics.follow(table);
    plane.table = table;
    this.versions++;
    const members = table.routes.flatMap((route) => route.pool?.members ?? []);
    ledger.sweep(new Set(members.map((member) => member.healthKey)), new Set(table.routes.map((route) => route.name)));
    const ofGuards = table.routes.flatMap((route) => route.guards.flatMap(({ trust }) => trust ?? []));
    const trusts = [...table.routes.map((route) => route.trust), ...ofGuards];
    plane.options.tunnels.sweep(new Set(trusts.map(trustKey)));
    this.monitor.follow([...targets]);
    this.#options.published?.();
    this.#tidyUp();
  }

  /** What the old table held is garbage now; soon is better than late, at most once in a while and beside the loop. */
  #tidyUp(): void {
    if (this.#tidying) return;
    this.#tidying = setTimeout(() => {
      this.#tidying = undefined;
      Bun.gc(false);
    }, tidyAfterReloadMs);
    this.#tidying.unref();
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
    const after = outline(this.#merged!);
    const changes = describeChanges(this.#told, after);
    this.#told = after;
    if (changes === "nothing" && !unchanged) return;
    const { plane, log, listeners } = this.#options;
    const { table } = plane;
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

function versionOf(rules: Rules): string {
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(rules)).digest("hex").slice(0, 12);
}
