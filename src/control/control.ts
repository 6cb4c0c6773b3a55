/** Control: starts and stops everything in the right order, and keeps it together while it runs. */
import { dirname } from "node:path";
import { renderProblems, type Problem } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import type { Explanation } from "../data/explain/explain.ts";
import type { Question } from "../data/explain/question.ts";
import type { PortShare, Steer } from "../data/listen/hand-over.ts";
import { stickyKey } from "../data/upstream/sticky.ts";
import { Acme } from "./acme/acme.ts";
import { coveredUntil, hostsOf, isRouted } from "./acme/surroundings.ts";
import { acmeEndpoints } from "./admin/acme.ts";
import { openAdmin, type Admin } from "./admin/admin.ts";
import type { ReloadReport } from "./admin/conf.ts";
import { certificateProblemsOf, certificatesOf } from "./admin/certificates.ts";
import { explainEndpoint } from "./admin/explain.ts";
import { handleAdmin } from "./admin/handle.ts";
import { adminSite } from "./admin/site.ts";
import { noneServes, workersOf } from "./admin/workers.ts";
import { openCertificates, type CertificateStore } from "./certificates/store.ts";
import { providersOf, type SourceState } from "./discovery/standing.ts";
import type { Fleet, FleetGiven, Predecessor } from "./fleet.ts";
import { Journal } from "./journal.ts";
import { renderMetrics, type Build, type MetricSources } from "./metrics/page.ts";
import { OwnFleet } from "./own-fleet.ts";
import { Reloader, type ReloadResult } from "./reload.ts";
import { rereadSettings, tellProblem } from "./settings-reload.ts";
import { shutDown } from "./shut-down.ts";
import { StartError } from "./start-error.ts";
import { watchFiles, type Watching } from "./watch.ts";

export { StartError } from "./start-error.ts";

export interface StartOptions {
  readonly settings: Settings;
  readonly rules: { readonly kind: "files" } | { readonly kind: "text"; readonly text: string; readonly name: string };
  /** remarks about main.yaml, to be logged */
  readonly problems: readonly Problem[];
  /** from `loadSettings` */
  readonly stickySecondsLegacy?: number | undefined;
  /** absolute; SIGHUP reads it again. Absent when there is none (demo, `proxy`) */
  readonly mainFile?: string;
  readonly env: Record<string, string | undefined>;
  /** which program this is, for the metrics */
  readonly build?: Build;
  /** A running process that this one takes over from. */
  readonly predecessor?: Predecessor | undefined;
  /** who serves; by default this process */
  readonly openFleet?: (given: FleetGiven) => Fleet;
}

export interface Running {
  readonly listeners: readonly { readonly name: string; readonly url: string }[];
  /** SIGHUP: settings that can change, and all rules */
  reload(): Promise<ReloadResult>;
  /** certificates by ACME: their states, and what can be ordered by hand */
  readonly acme: Pick<Acme, "states" | "createAccount" | "order">;
  /** Consul and Kubernetes, as far as the rules select them */
  sources(): readonly SourceState[];
  /** tables that went into force since the start */
  readonly versions: number;
  /** SIGUSR1 */
  reopenLogs(): void;
  /** What a scrape gets, in the text format of Prometheus. */
  metrics(): Promise<string>;
  /** What would become of a request now. */
  explain(question: Question): Promise<Explanation>;
  /** Logs a fault of the proxy itself that nobody caught. */
  fault(text: string): void;
  /**
   * Drains: accepts nothing more, finishes what runs, cuts what is left at the deadline.
   * @param deadlineMs default `graceful_shutdown_timeout_seconds`; resolves when everything is closed
   * @param left a successor serves already, and new connections are steered to it: called as soon as it can have the rest
   */
  stop(deadlineMs?: number, left?: () => void): Promise<void>;
  /** How many sockets listen on each port of the proxy; the admin API's are not shared. */
  shares(): readonly PortShare[];
  /** Which sockets of a port get its new connections. */
  steer(steers: readonly Steer[]): void;
  /** The predecessor has let go of the addresses that it could not share. */
  inherit(): Promise<void>;
  /** For the log, beside what is logged by itself. */
  log(level: "info" | "warn" | "error", target: string, text: string): void;
}

/** @throws StartError */
export async function start(options: StartOptions): Promise<Running> {
  let { settings } = options;
  const { openFleet } = options;
  const journal = new Journal(settings, openFleet ? "leads" : "alone");
  const { tell } = journal;
  const loopMark = `aralez-${crypto.randomUUID().slice(0, 13)}`;
  const signing = stickyKey(settings.master_key);
  const folder = options.mainFile ? dirname(options.mainFile) : process.cwd();
  const listening = Promise.withResolvers<void>();
  let isListening = false;
  let certificates: CertificateStore | undefined;
  let admin: Admin | undefined;
  let stopping: Promise<void> | undefined;
  const acme: Acme = new Acme({
    settings: () => settings,
    hosts: () => hostsOf(plane.table),
    isRouted: (name) => isRouted(plane.table, name),
    covered: (untilMs) => coveredUntil(certificates?.set, settings, untilMs),
    provesInHandshake: () => fleet.provesInHandshake,
    onAnswering: (isOn) => fleet.answering(isOn),
    onIssued: async () => certificates?.check(),
    log: tell,
  });
  const given: FleetGiven = {
    settings: () => settings,
    journal,
    loopMark,
    stickyKey: signing,
    mainFile: options.mainFile,
    predecessor: options.predecessor,
    challenges: acme.challenges,
    health: () => reloader.monitor.snapshot(),
  };
  const fleet: Fleet = makeFleet(given, openFleet);
  journal.onRotated = () => fleet.reopenLogs();
  const { plane } = fleet;
  const reloader: Reloader = new Reloader({
    fleet,
    settings: () => settings,
    env: options.env,
    folder,
    stickySecondsLegacy: options.stickySecondsLegacy,
    ...(options.rules.kind === "text" && { text: options.rules }),
    stickyKey: signing,
    log: tell,
    tlsPort: () => fleet.listeners.find(({ name }) => name === "https")?.port,
    clientCertificates: () => fleet.tlsEngine !== "bun",
    published() {
      if (isListening) acme.changed();
    },
    given: (pairs) => certificates?.give(pairs),
    listening: listening.promise,
    listeners: () =>
      allListeners()
        .map(({ name, url }) => `${name} ${url}`)
        .join(", "),
  });
  const allListeners = () => [...fleet.listeners.map(({ name, url }) => ({ name, url })), ...(admin?.listeners ?? [])];
  const reloadAll = async (): Promise<ReloadReport> => {
    const reread = rereadSettings(options.mainFile, options.env, settings, tell);
    if (reread.settings) {
      const before = settings;
      settings = reread.settings;
      journal.change(settings);
      fleet.changed(before, settings);
    }
    await certificates?.check();
    acme.changed();
    const rules = await reloader.load(true);
    tellResult(rules, tell);
    return { rules, settings: reread.problems, needRestart: reread.needRestart };
  };
  const sources: MetricSources = {
    fleet,
    reloads: reloader.counts,
    build: options.build ?? { version: "unknown", commit: "unknown" },
    certificates: () => certificates?.set,
    logLinesLost: () => journal.lost,
    providers: () => reloader.discovery.states,
  };

  let watching: Watching | undefined;
  try {
    // The watch starts before the first read, so that an edit in between is noticed.
    if (options.rules.kind === "files") {
      watching = watchFiles({
        files: () => reloader.watched().files,
        folders: () => reloader.watched().folders,
        onChange: async () => tellResult(await reloader.load(), tell),
        onError: (error) => tell("error", "config", `reload failed: ${(error as Error).stack ?? error}`),
      });
    }
    const first = await reloader.load();
    if (first.kind !== "applied")
      throw new StartError(first.kind === "refused" ? renderProblems(first.problems) : "no rules");
    for (const problem of [...options.problems, ...first.problems]) tellProblem(problem, tell);
    // What sources have to say belongs to the first requests already.
    await reloader.discovery.settled();
    await reloader.refresh();
    if (settings.proxy_address_tls)
      certificates = await openCertificates({
        settings: () => settings,
        log: tell,
        onChange: (set) => fleet.certificates(set),
        given: reloader.discovery.pairs,
      });
    await fleet.listen(certificates?.set);
    // The demo and the verb `proxy` have no file that a push could be about, and no key.
    if (options.rules.kind === "files") {
      const site = adminSite({
        settings: () => settings,
        plane,
        reloader,
        reload: reloadAll,
        loopMark,
        release: options.build?.version ?? "",
        collect: () => fleet.collect(),
        renderMetrics: () => renderMetrics(sources),
        endpoints: [...acmeEndpoints(acme), explainEndpoint((question) => fleet.explain(question))],
        more: () => ({
          providers: providersOf(reloader.discovery.states),
          certificates: certificatesOf(certificates?.set),
          certificate_problems: certificateProblemsOf(certificates?.problems),
          acme: acme.states(),
          ...workersOf(fleet),
        }),
        listeners: allListeners,
        open: () => fleet.open,
        unready: () => (stopping ? "it is stopping" : noneServes(fleet)),
      });
      admin = await openAdmin({
        settings: () => settings,
        handle: (exchange) => handleAdmin(site, exchange),
        failed: journal.fault,
        refusals: plane.refusals,
        log: tell,
        inherits: options.predecessor !== undefined,
      });
    }
  } catch (error) {
    await admin?.close();
    watching?.stop();
    certificates?.stop();
    reloader.stop();
    await fleet.close();
    journal.close();
    throw error instanceof StartError ? error : new StartError((error as Error).message);
  }

  listening.resolve();
  // Not before a server can reach us.
  isListening = true;
  if (settings.acme && !settings.proxy_address_tls)
    tell(
      "warn",
      "acme",
      "there is no TLS port (proxy_address_tls): certificates are fetched, but not served by this process",
    );
  acme.changed();
  return {
    get listeners() {
      return allListeners();
    },
    acme,
    reload: async () => (await reloadAll()).rules,
    get versions() {
      return reloader.counts.versions;
    },
    sources: () => reloader.discovery.states,
    reopenLogs() {
      journal.reopen();
      fleet.reopenLogs();
    },
    metrics: () => renderMetrics(sources),
    explain: (question) => fleet.explain(question),
    fault: (text) => tell("error", "proxy", text),
    shares: () => fleet.shares(),
    steer: (steers) => fleet.steer(steers),
    inherit: async () => admin?.retry(),
    log: tell,
    stop: (deadlineMs = settings.graceful_shutdown_timeout_seconds * 1000, left) =>
      (stopping ??= shutDown({
        deadlineMs,
        graceMs: left ? 0 : settings.grace_period_seconds * 1000,
        left,
        fleet,
        journal,
        watching,
        acme,
        certificates,
        reloader,
        admin,
      })),
  };
}

function tellResult(result: ReloadResult, log: Journal["tell"]): void {
  if (result.kind === "same") return;
  for (const problem of result.problems) tellProblem(problem, log);
  if (result.kind === "refused") log("error", "config", "the new rules have errors: the running rules stay");
}

/** @throws StartError */
function makeFleet(given: FleetGiven, openFleet: StartOptions["openFleet"]): Fleet {
  try {
    return openFleet ? openFleet(given) : new OwnFleet(given);
  } catch (error) {
    given.journal.close();
    throw error;
  }
}
