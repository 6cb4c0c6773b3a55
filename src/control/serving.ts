/** Serving: everything that answers requests in one process: a plane, its forwarders, its listeners and their log. */
import http from "node:http";
import type { Settings } from "../config/settings.ts";
import type { Challenges } from "../data/acme/challenges.ts";
import { answerOrHandle } from "../data/acme/responder.ts";
import { Validations } from "../data/acme/validations.ts";
import { withHint } from "../data/close.ts";
import type { Exchange } from "../data/exchange.ts";
import { openFileTree } from "../data/forward/files.ts";
import { tellWatchers } from "../data/guards/guard.ts";
import { handle } from "../data/handle.ts";
import { handleFiles } from "../data/listen/files.ts";
import { becomeQuiet } from "../data/listen/hand-over.ts";
import type { Listener } from "../data/listen/listener.ts";
import { recordOf } from "../data/observe/record.ts";
import type { RouteCounters } from "../data/observe/route-counters.ts";
import { Plane, type Ending, type PlaneOptions } from "../data/plane.ts";
import type { Table } from "../data/routing/table.ts";
import type { SharedState } from "../data/shared-state.ts";
import type { CertificateSet } from "../data/tls/certificate-set.ts";
import { policyFor } from "../data/tls/client-policy.ts";
import { AddressSet, type ListenAddress } from "../lib/address.ts";
import { cannotListen, refuseSecondCopy } from "../lib/cannot-listen.ts";
import { cutExchangesWaitMs } from "../lib/limits.ts";
import { openForwarders, openListener, openTlsListener, type Forwarders, type OpenTls } from "./engines.ts";
import type { Predecessor } from "./fleet.ts";
import type { Journal } from "./journal.ts";
import { Publisher } from "./publisher.ts";
import { StartError } from "./start-error.ts";

export interface ServingOptions {
  /** in force; whoever changes them calls {@link Serving.changed} */
  settings(): Settings;
  readonly journal: Journal;
  /** our CDN-Loop id */
  readonly loopMark: string;
  readonly mainFile: string | undefined;
  /** proofs of pending ACME orders */
  readonly challenges: Challenges;
  /** other processes serve on the same ports */
  readonly sharesPort: boolean;
  /** on whose ports this process may listen too */
  readonly predecessor?: Predecessor | undefined;
  /** what limits and turns count together with others; absent when nobody else serves */
  readonly shared?: SharedState;
  /** where passive ejection is told; absent when nobody else serves */
  readonly aside?: PlaneOptions["aside"];
}

interface Open {
  readonly name: string;
  readonly url: string;
  readonly listener: Listener;
}

export class Serving {
  readonly plane: Plane;
  readonly publisher: Publisher;
  /** exchanges that have not ended */
  open = 0;
  readonly #options: ServingOptions;
  readonly #forwarders: Forwarders;
  readonly #listeners: Open[] = [];
  #tls: OpenTls | undefined;
  #validations: Validations | undefined;
  /** with ACME on, its responder stands before it */
  #front: typeof handle = handle;

  constructor(options: ServingOptions) {
    this.#options = options;
    const { settings, loopMark, journal } = options;
    // Bun.serve takes its header limit from node:http, at the moment it starts (bun-facts 1).
    (http as { maxHeaderSize: number }).maxHeaderSize = settings().max_header_bytes;
    this.#forwarders = openForwarders(settings, loopMark, journal.tell);
    this.plane = new Plane(this.#planeOptions(), options.shared);
    this.publisher = new Publisher(this.plane);
  }

  /** TCP ports that it listens on */
  get ports(): number[] {
    return this.#listeners.flatMap(({ listener }) => (listener.port > 0 ? [listener.port] : []));
  }

  get listeners(): readonly Open[] {
    return this.#listeners;
  }

  /** of the TLS port, once it is open */
  get tlsEngine(): OpenTls["engine"] | undefined {
    return this.#tls?.engine;
  }

  get tlsPort(): number | undefined {
    return this.#tls?.listener.port;
  }

  /** whether the TLS port can answer TLS-ALPN-01 */
  get provesInHandshake(): boolean {
    return this.#validations !== undefined && this.#tls?.engine === "socket";
  }

  /**
   * Opens all listeners; a table must be in force.
   * @param certificates of the TLS port, where there is one
   * @throws StartError; those that are open by then are left to {@link close}
   */
  async listen(certificates: CertificateSet | undefined): Promise<void> {
    const { settings } = this.#options;
    const { proxy_address_http, proxy_address_tls, file_server_address, file_server_folder } = settings();
    this.#listeners.push(
      this.#listenPlain("http", proxy_address_http, (exchange) => this.#front(this.plane, exchange)),
    );
    if (proxy_address_tls && certificates) await this.#listenTls(proxy_address_tls, certificates);
    if (!file_server_address || !file_server_folder) return;
    const tree = openTree(file_server_folder);
    const { tell } = this.#options.journal;
    const { files } = this.plane.metrics;
    this.#listeners.push(
      this.#listenPlain("files", file_server_address, (exchange) => handleFiles(tree, exchange, tell), files),
    );
  }

  /** The settings have changed. */
  changed(before: Settings): void {
    const { settings } = this.#options;
    if (before.upstream_keepalive_timeout !== settings().upstream_keepalive_timeout) this.#forwarders.tunnels.close();
    this.plane.options = this.#planeOptions();
  }

  /** A new table is in force. */
  policiesChanged(): void {
    this.#tls?.listener.policiesChanged();
  }

  certificates(set: CertificateSet): void {
    this.#tls?.listener.certificates(set);
  }

  /** Whether ACME orders may be pending, so that their tokens are answered. */
  answering(isOn: boolean): void {
    const { challenges } = this.#options;
    this.#front = isOn ? (plane, exchange) => answerOrHandle(plane, exchange, challenges) : handle;
  }

  /**
   * Accepts nothing more, finishes what runs, cuts what is left at the deadline. Resolves when everything is closed.
   * @param left a successor gets all new connections by now: nobody may be lost, and it is told when the ports are closed
   */
  async drain(deadlineMs: number, left?: () => void): Promise<void> {
    if (left) await becomeQuiet(this.ports);
    await Promise.all(this.#listeners.map(({ listener }) => listener.forewarn?.()));
    const drained = Promise.all(this.#listeners.map(({ listener }) => listener.drain()));
    left?.();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => (timer = setTimeout(resolve, deadlineMs, "late")));
    if ((await Promise.race([drained, late])) === "late") {
      this.#options.journal.log.warn("proxy", `not drained after ${deadlineMs / 1000} s: cutting what is open`);
    }
    clearTimeout(timer);
    // Idle keep-alive connections outlive a drain; they end here.
    await Promise.all(this.#listeners.map(({ listener }) => listener.close()));
    // What was cut ends a moment later, and has its line in the log to write.
    const untilMs = performance.now() + cutExchangesWaitMs;
    while (this.open > 0 && performance.now() < untilMs) await Bun.sleep(5);
    this.#forwarders.tunnels.close();
  }

  /** Cuts everything, for a start that has failed. */
  async close(): Promise<void> {
    this.#forwarders.tunnels.close();
    await Promise.all(this.#listeners.map(({ listener }) => listener.close()));
  }

  #planeOptions(): PlaneOptions {
    const { settings, loopMark, mainFile, journal, aside } = this.#options;
    const { trusted_proxies, hc_interval } = settings();
    return {
      ...this.#forwarders,
      trustedProxies: new AddressSet(trusted_proxies),
      loopMark,
      retryAfterSeconds: Math.max(1, Math.ceil(hc_interval)),
      mainFile,
      log: journal.tell,
      aside,
      ended: this.#ended,
    };
  }

  readonly #ended = (exchange: Exchange, ending: Ending, unrouted?: RouteCounters): void => {
    const { plane } = this;
    const { log, access } = this.#options.journal;
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

  /** @param counters where exchanges without a route are counted */
  #common(address: ListenAddress, answer: (exchange: Exchange) => void, counters?: RouteCounters) {
    return {
      address,
      sharesPort: this.#options.sharesPort,
      mayShareLater: true,
      handle: (exchange: Exchange) => {
        this.open++;
        answer(exchange);
      },
      ended: (exchange: Exchange, ending: Ending) => {
        this.open--;
        this.plane.options.ended(exchange, ending, counters);
      },
      failed: this.#options.journal.fault,
    };
  }

  /** With others of ours on the port it is their starter who has looked. @throws the error of Bun.listen */
  #claim(address: ListenAddress): void {
    const { sharesPort, predecessor } = this.#options;
    if (!sharesPort && !("port" in address && predecessor?.ports.has(address.port))) refuseSecondCopy(address);
  }

  #listenPlain(
    name: string,
    address: ListenAddress,
    answer: (exchange: Exchange) => void,
    counters?: RouteCounters,
  ): Open {
    const { settings, journal } = this.#options;
    try {
      this.#claim(address);
      const options = this.#common(address, answer, counters);
      const listener = openListener(settings, options, this.plane.refusals, journal.tell);
      return { name, url: listener.url, listener };
    } catch (error) {
      throw new StartError(cannotListen(address, error));
    }
  }

  async #listenTls(address: ListenAddress, certificates: CertificateSet): Promise<void> {
    const { settings, journal, challenges } = this.#options;
    const { plane } = this;
    if (settings().acme?.challenge === "tls-alpn-01") this.#validations = new Validations(challenges);
    const options = {
      ...this.#common(address, (exchange) => handle(plane, exchange)),
      certificates,
      policy: (name: string) => policyFor(plane.table, name),
      asksClients: asksClients(plane.table),
      validations: this.#validations,
    };
    try {
      this.#claim(address);
      this.#tls = await openTlsListener(settings, options, plane.refusals, journal.tell);
    } catch (error) {
      throw new StartError(cannotListen(address, error, "listen with TLS"));
    }
    const { listener } = this.#tls;
    this.#listeners.push({ name: "https", url: listener.url, listener });
  }
}

function openTree(folder: string) {
  try {
    return openFileTree(folder);
  } catch (error) {
    throw new StartError(`Cannot serve files from "${folder}": ${(error as Error).message}`);
  }
}

function asksClients({ clientPolicy, hosts, wildcards, fallback }: Table): boolean {
  const all = [...hosts.values(), ...wildcards.map(({ host }) => host), ...(fallback ? [fallback] : [])];
  return clientPolicy !== undefined || all.some((host) => host.clientPolicy !== undefined);
}

/**
 * BUN(1.4.4): the first fetch of a process aborts it when no file descriptor is left; remove when it does not.
 * One at start, to an address that refuses at once, makes the later ones safe.
 */
export async function warmUp(): Promise<void> {
  await fetch("http://localhost/", { unix: "/nonexistent/aralez.sock", proxy: false } as BunFetchRequestInit).catch(
    () => {},
  );
}
