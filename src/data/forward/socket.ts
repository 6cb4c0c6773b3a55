/** The forwarder of the engine `socket`: HTTP/1.1 over connections of our own, pooled by endpoint and trust. */
import { surplusIdleMs, sweepMs } from "../../lib/limits.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import { Sweeper } from "../../lib/sweeper.ts";
import { asFailure, Failure } from "../failure.ts";
import type { Trust } from "../routing/table.ts";
import { wireOf } from "../upstream/pool.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { connectTo } from "./connect.ts";
import { settleWire } from "./http.ts";
import { tlsOf, trustKey, warnUnverified } from "./trust.ts";
import type { Attempt, Connections, Forwarder } from "./forwarder.ts";
import { UpstreamConnection, type ConnectionOwner } from "./upstream-connection.ts";

export interface SocketForwarderOptions {
  /** for upstreams that speak HTTP/2 */
  readonly http2: Forwarder & Connections;
  readonly loopMark: string;
  /** idle connections kept over all endpoints until {@link keepaliveMs}; the surplus goes by age */
  idleMax(): number;
  keepaliveMs(): number;
  /** busy and idle together, with those of HTTP/2; 0 = no bound */
  connectionsMax(): number;
  log(level: "warn" | "debug", target: string, text: string): void;
}

/** Connections to one endpoint under one trust. */
class Site implements ConnectionOwner {
  /** LIFO: the newest last, so that the others age */
  readonly kept: UpstreamConnection[] = [];
  /** busy and idle */
  open = 0;
  /** no route uses its trust any more */
  retired = false;

  constructor(
    readonly forwarder: SocketForwarder,
    readonly endpoint: Endpoint,
    /** undefined = not over TLS */
    readonly trust: Trust | undefined,
  ) {}

  idle(connection: UpstreamConnection): void {
    this.forwarder.keep(this, connection);
  }

  gone(connection: UpstreamConnection): void {
    this.forwarder.gone(this, connection);
  }

  failed(connection: UpstreamConnection, attempt: Attempt, failure: Failure): void {
    // An origin that closes idle connections is not unhealthy: one replay on a fresh one, if the request allows it.
    if (failure.code === "early_reset" && connection.reused && !connection.heardSome && attempt.again())
      return void this.forwarder.fresh(this, attempt);
    attempt.failed(failure);
  }
}

export class SocketForwarder implements Forwarder, Connections {
  readonly #plain = new Map<Endpoint, Site>();
  /** by {@link trustKey}, then by endpoint */
  readonly #trusting = new Map<string, Map<Endpoint, Site>>();
  readonly #sweeper = new Sweeper(sweepMs);
  #idle = 0;
  #open = 0;
  #waiting: (() => void)[] = [];
  readonly #idleClock = { serial: newSerial(), sweep: (nowMs: number) => this.#sweepIdle(nowMs) };

  constructor(readonly options: SocketForwarderOptions) {}

  forward(attempt: Attempt): void {
    const { member } = attempt;
    if (member.protocol !== "auto" || member.endpoint.wire !== undefined) return this.#forward(attempt);
    settleWire(member).then(
      () => this.#forward(attempt),
      (error: unknown) => attempt.failed(asFailure(error, member.endpoint.name)),
    );
  }

  #forward(attempt: Attempt): void {
    const { member, route } = attempt;
    const { endpoint } = member;
    const wire = wireOf(member);
    if (wire === "h2" || wire === "h2c") {
      if (attempt.exchange.upgrade === undefined) return this.options.http2.forward(attempt);
      const why = `${endpoint.name} speaks only HTTP/2, which cannot be used for this request yet`;
      return attempt.failed(new Failure("unsupported", why));
    }
    const site = wire === "https" ? this.#trustingSite(endpoint, route.trust) : siteIn(this.#plain, this, endpoint);
    const connection = site.kept.pop();
    if (!connection) return void this.fresh(site, attempt);
    this.#idle--;
    connection.reused = true;
    connection.exchange(attempt, attempt.beganMs);
  }

  sweep(inUse: ReadonlySet<string>): void {
    this.options.http2.sweep(inUse);
    for (const [key, sites] of this.#trusting) {
      if (inUse.has(key)) continue;
      this.#trusting.delete(key);
      for (const site of sites.values()) {
        site.retired = true;
        for (const connection of [...site.kept]) connection.shut();
      }
    }
  }

  get count(): number {
    return this.#open;
  }

  /** requests that wait for a place */
  get waiting(): number {
    return this.#waiting.length;
  }

  makeRoom(): boolean {
    for (const site of this.#sites()) {
      const oldest = site.kept[0];
      if (!oldest) continue;
      oldest.shut();
      return true;
    }
    return false;
  }

  /** A place below `max_upstream_connections` is free. */
  placeFree(): void {
    this.#waiting.shift()?.();
  }

  close(): void {
    this.options.http2.close();
    for (const site of this.#sites()) for (const connection of [...site.kept]) connection.shut();
  }

  *#sites(): Iterable<Site> {
    yield* this.#plain.values();
    for (const sites of this.#trusting.values()) yield* sites.values();
  }

  #trustingSite(endpoint: Endpoint, trust: Trust): Site {
    if (!trust.verify) warnUnverified(endpoint, this.options.log);
    const key = trustKey(trust);
    let sites = this.#trusting.get(key);
    if (!sites) this.#trusting.set(key, (sites = new Map()));
    return siteIn(sites, this, endpoint, trust);
  }

  /** @internal Sends the request on a new connection. */
  async fresh(site: Site, attempt: Attempt): Promise<void> {
    let connection: UpstreamConnection;
    try {
      connection = await this.#dial(site, attempt);
    } catch (error) {
      attempt.exchange.attend(undefined);
      return attempt.failed(asFailure(error, site.endpoint.name));
    }
    connection.exchange(attempt, performance.now());
  }

  async #dial(site: Site, attempt: Attempt): Promise<UpstreamConnection> {
    const { endpoint, trust } = site;
    const { connectMs } = attempt.route.timeouts;
    await this.#room(connectMs);
    if (this.#open++ === 0) this.#sweeper.add(this.#idleClock);
    site.open++;
    try {
      const gone = new AbortController();
      attempt.exchange.attend({ clientGone: () => gone.abort() });
      const tls = trust && tlsOf(trust, endpoint.address);
      const socket = await connectTo(endpoint, tls, connectMs, deaf, gone.signal);
      endpoint.heardMs = performance.now();
      const connection = new UpstreamConnection(
        endpoint.name,
        socket,
        site,
        this.options.loopMark,
        (events) => (socket.data.events = events),
      );
      socket.data.events = connection;
      this.#sweeper.add(connection);
      return connection;
    } catch (error) {
      this.#left(site);
      throw error;
    }
  }

  #left(site: Site): void {
    site.open--;
    if (--this.#open === 0) this.#sweeper.delete(this.#idleClock);
    this.placeFree();
  }

  /** Waits for a place below `max_upstream_connections`; an idle connection of another endpoint makes room at once. */
  async #room(connectMs: number): Promise<void> {
    const most = this.options.connectionsMax();
    const { http2 } = this.options;
    if (most === 0 || this.#open + http2.count < most || this.makeRoom() || http2.makeRoom()) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wake: (() => void) | undefined;
    const place = new Promise<boolean>((resolve) => {
      wake = () => resolve(true);
      this.#waiting.push(wake);
      if (connectMs > 0) timer = setTimeout(resolve, connectMs, false);
    });
    const got = await place;
    clearTimeout(timer);
    if (got) return;
    this.#waiting = this.#waiting.filter((other) => other !== wake);
    throw new Failure("upstream_busy", `no upstream connection was free within ${connectMs / 1000} s`);
  }

  /** @internal */
  keep(site: Site, connection: UpstreamConnection): void {
    connection.idleSinceMs = this.#sweeper.dueMs;
    site.kept.push(connection);
    this.#idle++;
    // Somebody waits for a place: an idle connection is one, as soon as it is closed.
    if (this.#waiting.length > 0 || site.retired) connection.shut();
  }

  /** @internal */
  gone(site: Site, connection: UpstreamConnection): void {
    this.#sweeper.delete(connection);
    const at = site.kept.lastIndexOf(connection);
    if (at >= 0) {
      site.kept.splice(at, 1);
      this.#idle--;
    }
    this.#left(site);
  }

  #sweepIdle(nowMs: number): void {
    const keepMs = this.options.keepaliveMs();
    const most = this.options.idleMax();
    for (const site of this.#sites()) {
      // The oldest stand first.
      for (const connection of [...site.kept]) {
        const ageMs = nowMs - connection.idleSinceMs;
        const allowedMs = Math.min(this.#idle > most ? surplusIdleMs : keepMs, connection.keepAliveMs);
        if (ageMs > allowedMs) connection.shut();
      }
      if (site.open === 0) this.#forget(site);
    }
  }

  #forget({ endpoint, trust }: Site): void {
    if (!trust) return void this.#plain.delete(endpoint);
    this.#trusting.get(trustKey(trust))?.delete(endpoint);
  }
}

function siteIn(sites: Map<Endpoint, Site>, forwarder: SocketForwarder, endpoint: Endpoint, trust?: Trust): Site {
  let site = sites.get(endpoint);
  if (!site) sites.set(endpoint, (site = new Site(forwarder, endpoint, trust)));
  return site;
}

/** Until the connection is put in place. */
const deaf: SocketEvents = { data() {}, drain() {}, end() {}, close() {} };
