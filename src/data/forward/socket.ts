/** The forwarder of the engine `socket`: HTTP/1.1 over connections of our own, pooled by endpoint and trust. */
import { names } from "../../lib/resolve.ts";
import { describe } from "../../lib/cause.ts";
import { surplusIdleMs, sweepMs } from "../../lib/limits.ts";
import { Sweeper } from "../../lib/sweeper.ts";
import type { Answer } from "../exchange.ts";
import { Failure } from "../failure.ts";
import type { Trust } from "../routing/table.ts";
import { wireOf } from "../upstream/pool.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import { dial, type DialedSocket, type SocketEvents } from "../wire/dial.ts";
import { settleWire } from "./http.ts";
import { tlsOf, trustKey, warnUnverified } from "./trust.ts";
import type { Attempt, Forwarder } from "./forwarder.ts";
import { UpstreamConnection } from "./upstream-connection.ts";

export interface SocketForwarderOptions {
  /** for upstreams that speak HTTP/2 */
  readonly http2: Forwarder;
  readonly loopMark: string;
  /** idle connections kept over all endpoints until {@link keepaliveMs}; the surplus goes by age */
  idleMax(): number;
  keepaliveMs(): number;
  /** busy and idle together; 0 = no bound */
  connectionsMax(): number;
  log(level: "warn" | "debug", target: string, text: string): void;
}

/** Connections to one endpoint under one trust. */
interface Site {
  /** LIFO: the newest first, so that the others age */
  readonly idle: UpstreamConnection[];
}

export class SocketForwarder implements Forwarder {
  readonly #sites = new Map<string, Site>();
  readonly #sweeper = new Sweeper(sweepMs);
  #idle = 0;
  #open = 0;
  #waiting: (() => void)[] = [];
  readonly #idleClock = { sweep: (nowMs: number) => this.#sweepIdle(nowMs) };

  constructor(readonly options: SocketForwarderOptions) {}

  async forward(attempt: Attempt): Promise<Answer> {
    const { member, route } = attempt;
    const { endpoint } = member;
    if (member.protocol === "auto" && endpoint.wire === undefined) await settleWire(member);
    const wire = wireOf(member);
    if (wire === "h2" || wire === "h2c") {
      if (attempt.exchange.upgrade === undefined) return this.options.http2.forward(attempt);
      throw new Failure(
        "unsupported",
        `${endpoint.name} speaks only HTTP/2, which cannot be used for this request yet`,
      );
    }
    const trust = wire === "https" ? route.trust : undefined;
    if (trust && !trust.verify) warnUnverified(endpoint, this.options.log);
    const key = trust ? `${endpoint.name} ${trustKey(trust)}` : `${endpoint.name} `;
    const kept = this.#takeIdle(this.#site(key));
    if (!kept) return (await this.#dial(key, endpoint, trust, route.timeouts.connectMs, attempt)).exchange(attempt);
    try {
      return await kept.exchange(attempt);
    } catch (error) {
      // An origin that closes idle connections is not unhealthy: one replay on a fresh one, if the request allows it.
      const again = (error as Failure).code === "early_reset" && !kept.heardSome ? attempt.again() : undefined;
      if (!again) throw error;
      const fresh = await this.#dial(key, endpoint, trust, route.timeouts.connectMs, attempt);
      return fresh.exchange({ ...attempt, body: again.body });
    }
  }

  sweep(inUse: ReadonlySet<string>): void {
    this.options.http2.sweep(inUse);
    for (const [key, site] of this.#sites) {
      const trust = key.slice(key.indexOf(" ") + 1);
      if (trust === "" || inUse.has(trust)) continue;
      for (const connection of [...site.idle]) connection.shut();
      this.#sites.delete(key);
    }
  }

  close(): void {
    this.options.http2.close();
    for (const site of this.#sites.values()) for (const connection of [...site.idle]) connection.shut();
  }

  #site(key: string): Site {
    let site = this.#sites.get(key);
    if (!site) this.#sites.set(key, (site = { idle: [] }));
    return site;
  }

  #takeIdle(site: Site): UpstreamConnection | undefined {
    const connection = site.idle.pop();
    if (connection) this.#taken();
    return connection;
  }

  #taken(): void {
    if (--this.#idle === 0) this.#sweeper.delete(this.#idleClock);
  }

  async #dial(
    key: string,
    endpoint: Endpoint,
    trust: Trust | undefined,
    connectMs: number,
    attempt: Attempt,
  ): Promise<UpstreamConnection> {
    await this.#room(connectMs);
    this.#open++;
    let connection: UpstreamConnection | undefined;
    try {
      const socket = await this.#connect(endpoint, trust, connectMs, attempt);
      endpoint.heardMs = performance.now();
      connection = new UpstreamConnection(
        endpoint.name,
        socket,
        { idle: (it) => this.#keep(key, it), gone: (it) => this.#gone(key, it) },
        this.options.loopMark,
        (events) => (socket.data.events = events),
      );
      socket.data.events = connection;
      this.#sweeper.add(connection);
      return connection;
    } catch (error) {
      this.#open--;
      this.#waiting.shift()?.();
      throw error;
    }
  }

  /** All addresses of the endpoint's name are tried, within `connectMs` together. */
  async #connect(
    endpoint: Endpoint,
    trust: Trust | undefined,
    connectMs: number,
    attempt: Attempt,
  ): Promise<DialedSocket> {
    const { address, name } = endpoint;
    const gone = new AbortController();
    attempt.exchange.onClientGone(() => gone.abort());
    const options = { ...(trust && { tls: tlsOf(trust) }), signal: gone.signal, events: deaf };
    if ("unix" in address) return dial({ ...options, connect: address, connectMs });
    const deadlineMs = connectMs > 0 ? performance.now() + connectMs : Infinity;
    let last: Failure | undefined;
    let addresses: string[];
    try {
      addresses = await names.resolve(address.host);
    } catch (error) {
      throw new Failure("name_not_found", `${name}: ${describe(error)}`);
    }
    for (const hostname of addresses) {
      const leftMs = deadlineMs === Infinity ? 0 : Math.max(1, deadlineMs - performance.now());
      try {
        return await dial({ ...options, connect: { hostname, port: address.port }, connectMs: leftMs });
      } catch (error) {
        last = error as Failure;
        if (last.code !== "connect_refused") break;
      }
    }
    throw last ?? new Failure("name_not_found", `${name}: the name has no address`);
  }

  /** Waits for a place below `max_upstream_connections`; an idle connection of another endpoint makes room at once. */
  async #room(connectMs: number): Promise<void> {
    const most = this.options.connectionsMax();
    if (most === 0 || this.#open < most) return;
    for (const site of this.#sites.values()) {
      const oldest = site.idle[0];
      if (oldest) return oldest.shut();
    }
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

  /** By key: its site may have been forgotten while it was busy. */
  #keep(key: string, connection: UpstreamConnection): void {
    connection.idleSinceMs = performance.now();
    this.#site(key).idle.push(connection);
    if (this.#idle++ === 0) this.#sweeper.add(this.#idleClock);
    // Somebody waits for a place: an idle connection is one, as soon as it is closed.
    if (this.#waiting.length > 0) connection.shut();
  }

  #gone(key: string, connection: UpstreamConnection): void {
    this.#sweeper.delete(connection);
    this.#open--;
    const idle = this.#sites.get(key)?.idle ?? [];
    const at = idle.indexOf(connection);
    if (at >= 0) {
      idle.splice(at, 1);
      this.#taken();
    }
    this.#waiting.shift()?.();
  }

  #sweepIdle(nowMs: number): void {
    const keepMs = this.options.keepaliveMs();
    const most = this.options.idleMax();
    for (const [key, site] of this.#sites) {
      if (site.idle.length === 0) this.#sites.delete(key);
      // The oldest stand first.
      for (const connection of [...site.idle]) {
        const ageMs = nowMs - connection.idleSinceMs;
        const allowedMs = Math.min(this.#idle > most ? surplusIdleMs : keepMs, connection.keepAliveMs);
        if (ageMs > allowedMs) connection.shut();
      }
    }
  }
}

/** Until the connection is put in place. */
const deaf: SocketEvents = { data() {}, drain() {}, end() {}, close() {} };
