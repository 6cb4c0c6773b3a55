/** Control: starts and stops everything in the right order, and keeps it together while it runs. */
import http from "node:http";
import { dirname } from "node:path";
import { renderProblem, renderProblems, type Problem } from "../config/problem.ts";
import { loadSettings } from "../config/load-settings.ts";
import type { Settings } from "../config/settings.ts";
import { answerOrHandle } from "../data/acme/responder.ts";
import { Validations } from "../data/acme/validations.ts";
import { withHint } from "../data/close.ts";
import { explain, type Explanation } from "../data/explain/explain.ts";
import type { Question } from "../data/explain/question.ts";
import { openFileTree } from "../data/forward/files.ts";
import { tellWatchers } from "../data/guards/guard.ts";
import { handle } from "../data/handle.ts";
import type { Listener, ListenerOptions } from "../data/listen/listener.ts";
import { handleFiles } from "../data/listen/files.ts";
import { AccessLog } from "../data/observe/access-log.ts";
import { recordOf } from "../data/observe/record.ts";
import type { RouteCounters } from "../data/observe/route-counters.ts";
import type { Refusals } from "../data/observe/refusals.ts";
import type { Exchange } from "../data/exchange.ts";
import { Plane, type Ending, type PlaneOptions } from "../data/plane.ts";
import type { Table } from "../data/routing/table.ts";
import { policyFor } from "../data/tls/client-policy.ts";
import { stickyKey } from "../data/upstream/sticky.ts";
import { AddressSet, showListen, type ListenAddress } from "../lib/address.ts";
import { describe } from "../lib/cause.ts";
import { cutExchangesWaitMs } from "../lib/limits.ts";
import { openLogSinks, type LogSinks } from "../lib/log-sink.ts";
import { Log } from "../lib/log.ts";
import { Acme } from "./acme/acme.ts";
import { coveredUntil, hostsOf, isRouted } from "./acme/surroundings.ts";
import { acmeEndpoints } from "./admin/acme.ts";
import { openAdmin, type Admin } from "./admin/admin.ts";
import type { ReloadReport } from "./admin/conf.ts";
import { certificatesOf } from "./admin/certificates.ts";
import { explainEndpoint } from "./admin/explain.ts";
import { handleAdmin } from "./admin/handle.ts";
import { adminSite } from "./admin/site.ts";
import { openCertificates, type CertificateStore } from "./certificates/store.ts";
import {
  openForwarders,
  openListener,
  openTlsListener,
  type Forwarders,
  type OpenTls,
  type TlsOpenOptions,
} from "./engines.ts";
import { renderMetrics, type Build, type MetricSources } from "./metrics/page.ts";
import { providersOf, type SourceState } from "./discovery/standing.ts";
import { Reloader, type ReloadResult } from "./reload.ts";
import { watchFiles, type Watching } from "./watch.ts";

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
   */
  stop(deadlineMs?: number): Promise<void>;
}

/** Why it cannot start; the message is ready to print. */
export class StartError extends Error {}

/** @throws StartError */
export async function start(options: StartOptions): Promise<Running> {
  let { settings } = options;
  // Bun.serve takes its header limit from node:http, at the moment it starts (bun-facts 1).
  (http as { maxHeaderSize: number }).maxHeaderSize = settings.max_header_bytes;
  let sinks = openLogSinks(settings.log_file, settings.error_log);
  const log = new Log(settings.log_level, sinks.log);
  const tell: PlaneOptions["log"] = (level, target, text) => log[level](target, text);
  const access = new AccessLog(settings.access_log, settings.access_log_format, sinks.access);
  const loopMark = `aralez-${crypto.randomUUID().slice(0, 13)}`;
  const planeOptions = (): PlaneOptions => ({
    ...forwarders,
    trustedProxies: new AddressSet(settings.trusted_proxies),
    loopMark,
    retryAfterSeconds: Math.max(1, Math.ceil(settings.hc_interval)),
    mainFile: options.mainFile,
    log: tell,
    ended,
  });
  const ended = (exchange: Exchange, ending: Ending, unrouted?: RouteCounters) => {
    plane.metrics.ended(exchange, ending, unrouted);
    tellWatchers(exchange, ending);
    const turn = exchange.route?.pool?.turn;
    if (turn) turn.requests++;
    if (ending.failure) {
      const text = `${ending.cut ? "cut" : "refused"} after ${ending.bytesOut} bytes, host: ${exchange.authority ?? "-"}, route: ${exchange.route?.name ?? "-"}, client: ${exchange.client}, id: ${exchange.id}: ${ending.failure.message}`;
      log.warn("answer", ending.cut ? text : withHint(plane, exchange, ending.status, text));
    }
    if (access.wants(ending.status, ending.cut, ending.grpcStatus)) access.write(recordOf(exchange, ending));
  };
  const forwarders = openForwarders(() => settings, loopMark, tell);
  const plane = new Plane(planeOptions());
  const folder = options.mainFile ? dirname(options.mainFile) : process.cwd();
  const listeners: { name: string; url: string; listener: Listener }[] = [];
  /** exchanges that have not ended */
  let open = 0;
  const listening = Promise.withResolvers<void>();
  let isListening = false;
  let tls: OpenTls | undefined;
  let certificates: CertificateStore | undefined;
  let admin: Admin | undefined;
  let stopping: Promise<void> | undefined;
  let validations: Validations | undefined;
  /** with ACME on, its responder stands before it */
  let front: typeof handle = handle;
  const acme: Acme = new Acme({
    settings: () => settings,
    hosts: () => hostsOf(plane.table),
    isRouted: (name) => isRouted(plane.table, name),
    covered: (untilMs) => coveredUntil(certificates?.set, settings, untilMs),
    provesInHandshake: () => validations !== undefined && tls?.engine === "socket",
    onAnswering(isOn) {
      front = isOn ? (plane, exchange) => answerOrHandle(plane, exchange, acme.challenges) : handle;
    },
    onIssued: async () => certificates?.check(),
    log: tell,
  });
  const reloader = new Reloader({
    plane,
    settings: () => settings,
    env: options.env,
    folder,
    stickySecondsLegacy: options.stickySecondsLegacy,
    ...(options.rules.kind === "text" && { text: options.rules }),
    stickyKey: stickyKey(settings.master_key),
    log: tell,
    tlsPort: () => tls?.listener.port,
    clientCertificates: () => tls?.engine !== "bun",
    published() {
      tls?.listener.policiesChanged();
      if (isListening) acme.changed();
    },
    given: (pairs) => certificates?.give(pairs),
    listening: listening.promise,
    listeners: () =>
      allListeners()
        .map(({ name, url }) => `${name} ${url}`)
        .join(", "),
  });
  const allListeners = () => [...listeners.map(({ name, url }) => ({ name, url })), ...(admin?.listeners ?? [])];
  const change = (changed: Settings) => {
    const before = settings;
    settings = changed;
    if (differ(before, settings, "log_file") || differ(before, settings, "error_log")) {
      const old = sinks;
      sinks = openLogSinks(settings.log_file, settings.error_log);
      log.sinks = sinks.log;
      access.sink = sinks.access;
      old.close();
    }
    if (differ(before, settings, "upstream_keepalive_timeout")) forwarders.tunnels.close();
    log.level = settings.log_level;
    access.change(settings.access_log, settings.access_log_format);
    plane.options = planeOptions();
  };
  const reloadAll = async (): Promise<ReloadReport> => {
    const reread = rereadSettings(options, settings, tell);
    if (reread.settings) change(reread.settings);
    await certificates?.check();
    acme.changed();
    const rules = await reloader.load(true);
    tellResult(rules, tell);
    return { rules, settings: reread.problems, needRestart: reread.needRestart };
  };

  const sources: MetricSources = {
    plane,
    reloads: reloader.counts,
    build: options.build ?? { version: "unknown", commit: "unknown" },
    certificates: () => certificates?.set,
    inFlight: () => open,
    listeners: () => listeners.map(({ name, listener }) => ({ name, open: listener.open })),
    logLinesLost: () => sinks.lost,
    providers: () => reloader.discovery.states,
  };

  const flush = () => sinks.flushSync();
  process.on("exit", flush);
  let watching: Watching | undefined;
  try {
    // The watch starts before the first read, so that an edit in between is noticed.
    if (options.rules.kind === "files") {
      watching = watchFiles({
        files: () => reloader.watched().files,
        folders: () => reloader.watched().folders,
        onChange: async () => tellResult(await reloader.load(), tell),
        onError: (error) => log.error("config", `reload failed: ${(error as Error).stack ?? error}`),
      });
    }
    await warmUp();
    const first = await reloader.load();
    if (first.kind !== "applied")
      throw new StartError(first.kind === "refused" ? renderProblems(first.problems) : "no rules");
    for (const problem of [...options.problems, ...first.problems]) tellProblem(problem, tell);
    // What sources have to say belongs to the first requests already.
    await reloader.discovery.settled();
    await reloader.refresh();
    listeners.push(
      listen("http", settings.proxy_address_http, {
        handle(exchange) {
          open++;
          front(plane, exchange);
        },
        ended: (exchange, ending) => (open--, plane.options.ended(exchange, ending)),
        settings: () => settings,
        refusals: plane.refusals,
        log,
      }),
    );
    if (settings.proxy_address_tls) {
      if (settings.acme?.challenge === "tls-alpn-01") validations = new Validations(acme.challenges);
      certificates = await openCertificates({
        settings: () => settings,
        log: tell,
        onChange: (set) => tls?.listener.certificates(set),
        given: reloader.discovery.pairs,
      });
      tls = await listenTls(settings.proxy_address_tls, {
        handle(exchange) {
          open++;
          handle(plane, exchange);
        },
        ended: (exchange, ending) => (open--, plane.options.ended(exchange, ending)),
        settings: () => settings,
        refusals: plane.refusals,
        log,
        certificates: certificates.set,
        policy: (name) => policyFor(plane.table, name),
        asksClients: asksClients(plane.table),
        validations,
      });
      listeners.push({ name: "https", url: tls.listener.url, listener: tls.listener });
    }
    if (settings.file_server_address && settings.file_server_folder) {
      const tree = openTree(settings.file_server_folder);
      listeners.push(
        listen("files", settings.file_server_address, {
          handle(exchange) {
            open++;
            handleFiles(tree, exchange, tell);
          },
          ended: (exchange, ending) => (open--, plane.options.ended(exchange, ending, plane.metrics.files)),
          settings: () => settings,
          refusals: plane.refusals,
          log,
        }),
      );
    }
    // The demo and the verb `proxy` have no file that a push could be about, and no key.
    if (options.rules.kind === "files") {
      const site = adminSite({
        settings: () => settings,
        plane,
        reloader,
        reload: reloadAll,
        loopMark,
        release: options.build?.version ?? "",
        renderMetrics: () => renderMetrics(sources),
        endpoints: [...acmeEndpoints(acme), explainEndpoint((question) => explain(plane, question))],
        more: () => ({
          providers: providersOf(reloader.discovery.states),
          certificates: certificatesOf(certificates?.set),
          acme: acme.states(),
        }),
        listeners: allListeners,
        open: () => open,
        unready: () => (stopping ? "it is stopping" : undefined),
      });
      admin = await openAdmin({
        settings: () => settings,
        handle: (exchange) => handleAdmin(site, exchange),
        failed: tellFault(log),
        refusals: plane.refusals,
        log: tell,
      });
    }
  } catch (error) {
    await admin?.close();
    watching?.stop();
    certificates?.stop();
    reloader.stop();
    forwarders.tunnels.close();
    await Promise.all(listeners.map(({ listener }) => listener.close()));
    sinks.close();
    process.off("exit", flush);
    throw error instanceof StartError ? error : new StartError((error as Error).message);
  }

  listening.resolve();
  // Not before a server can reach us.
  isListening = true;
  if (settings.acme && !settings.proxy_address_tls)
    log.warn(
      "acme",
      "there is no TLS port (proxy_address_tls): certificates are fetched, but not served by this process",
    );
  acme.changed();
  return {
    listeners: allListeners(),
    acme,
    reload: async () => (await reloadAll()).rules,
    get versions() {
      return reloader.counts.versions;
    },
    sources: () => reloader.discovery.states,
    reopenLogs: () => sinks.reopen(),
    metrics: () => renderMetrics(sources),
    explain: (question) => explain(plane, question),
    fault: (text) => log.error("proxy", text),
    stop(deadlineMs = settings.graceful_shutdown_timeout_seconds * 1000) {
      return (stopping ??= shutDown({
        deadlineMs,
        graceMs: settings.grace_period_seconds * 1000,
        listeners,
        log,
        sinks,
        watching,
        acme,
        certificates,
        reloader,
        forwarders,
        admin,
        open: () => open,
      }).finally(() => process.off("exit", flush)));
    },
  };
}

function openTree(folder: string) {
  try {
    return openFileTree(folder);
  } catch (error) {
    throw new StartError(`Cannot serve files from "${folder}": ${(error as Error).message}`);
  }
}

interface ListenOptions {
  refusals: Refusals;
  handle: ListenerOptions["handle"];
  ended: ListenerOptions["ended"];
  settings(): Settings;
  log: Log;
}

function listen(name: string, address: ListenAddress, { settings, log, refusals, ...given }: ListenOptions) {
  try {
    const options = { ...given, address, failed: tellFault(log) };
    const listener = openListener(settings, options, refusals, (level, target, text) => log[level](target, text));
    return { name, url: listener.url, listener };
  } catch (error) {
    throw new StartError(`Cannot listen on ${showListen(address)}: ${describe(error)}`);
  }
}

type ListenTlsOptions = ListenOptions & Pick<TlsOpenOptions, "certificates" | "policy" | "asksClients" | "validations">;

async function listenTls(
  address: ListenAddress,
  { settings, log, refusals, ...given }: ListenTlsOptions,
): Promise<OpenTls> {
  try {
    const options = { ...given, address, failed: tellFault(log) };
    return await openTlsListener(settings, options, refusals, (level, target, text) => log[level](target, text));
  } catch (error) {
    throw new StartError(`Cannot listen with TLS on ${showListen(address)}: ${describe(error)}`);
  }
}

function tellFault(log: Log): (error: unknown) => void {
  return (error) => log.error("proxy", `a fault of the proxy itself: ${(error as Error)?.stack ?? error}`);
}

function asksClients({ clientPolicy, hosts, wildcards, fallback }: Table): boolean {
  const all = [...hosts.values(), ...wildcards.map(({ host }) => host), ...(fallback ? [fallback] : [])];
  return clientPolicy !== undefined || all.some((host) => host.clientPolicy !== undefined);
}

/**
 * BUN(1.4.4): the first fetch of a process aborts it when no file descriptor is left; remove when it does not.
 * One at start, to an address that refuses at once, makes the later ones safe.
 */
async function warmUp(): Promise<void> {
  await fetch("http://localhost/", { unix: "/nonexistent/aralez.sock", proxy: false } as BunFetchRequestInit).catch(
    () => {},
  );
}

interface Reread {
  /** with what may change applied; undefined when nothing may be changed */
  readonly settings?: Settings;
  readonly problems: readonly Problem[];
  /** keys that have changed and need a restart */
  readonly needRestart: readonly string[];
}

function rereadSettings(options: StartOptions, before: Settings, log: PlaneOptions["log"]): Reread {
  if (!options.mainFile) return { problems: [], needRestart: [] };
  const { settings: after, problems } = loadSettings({ file: options.mainFile, text: undefined }, options.env);
  for (const problem of problems) tellProblem(problem, log);
  if (!after) {
    log("error", "config", `${options.mainFile} has errors: the running settings stay`);
    return { problems, needRestart: [] };
  }
  const { settings, needRestart } = applyReloadable(before, after);
  if (needRestart.length > 0)
    log("warn", "config", `changed in main.yaml but needs a restart: ${needRestart.join(", ")}`);
  return { settings, problems, needRestart };
}

const reloadable = [
  "log_level",
  "access_log",
  "access_log_format",
  "log_file",
  "error_log",
  "hc_method",
  "hc_interval",
  "trusted_proxies",
  "admin_read",
  "client_timeouts",
  "upstream_keepalive_timeout",
  "max_connections",
  "max_upstream_connections",
  "keepalive_requests",
  "default_certificate",
  "acme",
  "graceful_shutdown_timeout_seconds",
] as const satisfies readonly (keyof Settings)[];

function applyReloadable(before: Settings, after: Settings): { settings: Settings; needRestart: string[] } {
  const settings = { ...before };
  for (const key of reloadable) Object.assign(settings, { [key]: after[key] });
  const keys = new Set(Object.keys({ ...before, ...after })) as Set<keyof Settings>;
  const needRestart = [...keys].filter((key) => !reloadable.includes(key as never) && differ(before, after, key));
  return { settings, needRestart };
}

function differ(before: Settings, after: Settings, key: keyof Settings): boolean {
  return JSON.stringify(before[key]) !== JSON.stringify(after[key]);
}

function tellResult(result: ReloadResult, log: PlaneOptions["log"]): void {
  if (result.kind === "same") return;
  for (const problem of result.problems) tellProblem(problem, log);
  if (result.kind === "refused") log("error", "config", "the new rules have errors: the running rules stay");
}

function tellProblem(problem: Problem, log: PlaneOptions["log"]): void {
  const level = problem.severity === "error" ? "error" : problem.severity === "warning" ? "warn" : "info";
  log(level, "config", renderProblem(problem).split("\n")[0]!);
}

interface ShutDown {
  deadlineMs: number;
  graceMs: number;
  listeners: { listener: Listener }[];
  log: Log;
  sinks: LogSinks;
  watching: Watching | undefined;
  acme: Acme;
  certificates: CertificateStore | undefined;
  reloader: Reloader;
  forwarders: Forwarders;
  admin: Admin | undefined;
  /** exchanges that have not ended */
  open(): number;
}

async function shutDown({
  deadlineMs,
  graceMs,
  listeners,
  log,
  sinks,
  watching,
  acme,
  certificates,
  reloader,
  forwarders,
  admin,
  open,
}: ShutDown): Promise<void> {
  if (graceMs > 0) await Bun.sleep(graceMs);
  log.info("proxy", `stopping: ${listeners.reduce((sum, { listener }) => sum + listener.open, 0)} open`);
  watching?.stop();
  const acmeStopped = acme.stop();
  certificates?.stop();
  reloader.stop();
  const drained = Promise.all(listeners.map(({ listener }) => listener.drain()));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => (timer = setTimeout(resolve, deadlineMs, "late")));
  if ((await Promise.race([drained, late])) === "late") {
    log.warn("proxy", `not drained after ${deadlineMs / 1000} s: cutting what is open`);
  }
  clearTimeout(timer);
  // Idle keep-alive connections outlive a drain; they end here.
  await Promise.all(listeners.map(({ listener }) => listener.close()));
  // What was cut ends a moment later, and has its line in the log to write.
  const untilMs = performance.now() + cutExchangesWaitMs;
  while (open() > 0 && performance.now() < untilMs) await Bun.sleep(5);
  forwarders.tunnels.close();
  await acmeStopped;
  // Until here /ready says that it is stopping.
  await admin?.close();
  log.info("proxy", "stopped");
  sinks.close();
}
