/**
 * The forwarder for upstreams that speak HTTP/2, over TLS or by prior knowledge: few connections to each endpoint, many
 * requests on each at once; another connection is opened when all are full.
 */
import { http2RoomLookMs, sweepMs } from "../../lib/limits.ts";
import { NumberedSet } from "../../lib/numbered-set.ts";
import { Sweeper } from "../../lib/sweeper.ts";
import type { Underway } from "../exchange.ts";
import { asFailure, Failure } from "../failure.ts";
import type { Trust } from "../routing/table.ts";
import { wireOf } from "../upstream/pool.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { connectTo } from "./connect.ts";
import type { Attempt, Connections, Forwarder } from "./forwarder.ts";
import { settleWire } from "./http.ts";
import { Http2Upstream, type Http2Pool } from "./http2-connection.ts";
import { tlsOf, trustKey, warnUnverified } from "./trust.ts";

export interface Http2ForwarderOptions {
  readonly loopMark: string;
  /** connections without streams are closed after this; 0 = never */
  keepaliveMs(): number;
  /** connections open at once, with those of HTTP/1.1; 0 = no bound */
  connectionsMax(): number;
  /** those of HTTP/1.1 */
  elsewhere(): Connections & { readonly waiting: number };
  /** a connection is gone: HTTP/1.1 may have waited for its place */
  left(): void;
  log(level: "warn" | "debug", target: string, text: string): void;
}

/** Connections to one endpoint under one trust. */
interface Site {
  readonly open: Http2Upstream[];
  /** one connection at a time is opened, for all who wait */
  dialing: Promise<void> | undefined;
}

export class Http2Forwarder implements Forwarder, Http2Pool, Connections {
  readonly loopMark: string;
  readonly #sites = new Map<string, Site>();
  readonly #sweeper = new Sweeper(sweepMs);
  readonly #all = new NumberedSet<Http2Upstream>();
  /** attempts that were made a second time already */
  readonly #repeated = new WeakSet<Attempt>();

  constructor(readonly options: Http2ForwarderOptions) {
    this.loopMark = options.loopMark;
  }

  forward(attempt: Attempt): void {
    const { member } = attempt;
    if (member.protocol !== "auto" || member.endpoint.wire !== undefined) return this.#send(attempt);
    settleWire(member).then(
      () => this.#send(attempt),
      (error: unknown) => attempt.failed(asFailure(error, member.endpoint.name)),
    );
  }

  #send(attempt: Attempt): void {
    const { member, route } = attempt;
    const { endpoint } = member;
    const trust = wireOf(member) === "h2c" ? undefined : route.trust;
    if (trust && !trust.verify) warnUnverified(endpoint, this.options.log);
    const key = trust ? `${endpoint.name} ${trustKey(trust)}` : `${endpoint.name} `;
    const connection = this.#roomIn(key);
    // Used at once: others may be waiting for the same room.
    if (connection) return connection.exchange(attempt);
    const { connectMs } = route.timeouts;
    const untilMs = connectMs === 0 ? Infinity : performance.now() + connectMs;
    this.#sendLate({ attempt, key, endpoint, trust, connectMs, untilMs });
  }

  /** When there is room for it: a new connection may have been taken by others who waited for the same. */
  #sendLate(late: Late): void {
    const { attempt, key, endpoint, untilMs } = late;
    const wait = new Wait(attempt);
    const again = (failure: Failure) => {
      if (performance.now() < untilMs) this.#sendLate(late);
      else attempt.failed(failure);
    };
    this.#opened(late).then(
      () => {
        if (!wait.end()) return;
        const connection = this.#roomIn(key);
        if (connection) connection.exchange(attempt);
        else again(busy(endpoint));
      },
      (error: unknown) => {
        if (!wait.end()) return;
        const failure = asFailure(error, endpoint.name);
        if (failure.code === "upstream_busy") again(failure);
        else attempt.failed(failure);
      },
    );
  }

  get count(): number {
    return this.#all.size;
  }

  makeRoom(): boolean {
    for (const { open } of this.#sites.values()) {
      for (const connection of open) {
        if (connection.active > 0) continue;
        connection.shutDown();
        return true;
      }
    }
    return false;
  }

  sweep(inUse: ReadonlySet<string>): void {
    for (const [key, { open }] of this.#sites) {
      const trust = key.slice(key.indexOf(" ") + 1);
      if (trust === "" || inUse.has(trust)) continue;
      for (const connection of [...open]) connection.shutDown();
    }
  }

  close(): void {
    for (const connection of [...this.#all]) connection.shutDown();
  }

  // As the pool of its connections.

  failed(connection: Http2Upstream, attempt: Attempt, failure: Failure): void {
    // What the server has not looked at may go there again; what it dropped with its connection, if it may be repeated.
    const unseen = failure.code === "refused_stream";
    const may = !this.#repeated.has(attempt) && (unseen || (failure.code === "early_reset" && connection.served > 1));
    if (!may || !attempt.again(unseen)) return attempt.failed(failure);
    this.#repeated.add(attempt);
    this.#send(attempt);
  }

  keepaliveMs(): number {
    return this.options.keepaliveMs();
  }

  idle(connection: Http2Upstream): void {
    if (this.options.elsewhere().waiting > 0) connection.shutDown();
  }

  leaving(connection: Http2Upstream): void {
    for (const [key, site] of this.#sites) {
      const at = site.open.indexOf(connection);
      if (at < 0) continue;
      site.open.splice(at, 1);
      if (site.open.length === 0 && !site.dialing) this.#sites.delete(key);
      return;
    }
  }

  gone(connection: Http2Upstream): void {
    this.leaving(connection);
    this.#all.delete(connection);
    this.#sweeper.delete(connection);
    this.options.left();
  }

  /** The least busy connection that takes another request. */
  #roomIn(key: string): Http2Upstream | undefined {
    const site = this.#sites.get(key);
    if (!site) return undefined;
    let best: Http2Upstream | undefined;
    for (const connection of site.open) {
      if (connection.hasRoom && (!best || connection.active < best.active)) best = connection;
    }
    return best;
  }

  /** Another connection is open, or one has room again. @throws Failure */
  #opened(late: Late): Promise<void> {
    const { key } = late;
    let site = this.#sites.get(key);
    if (!site) this.#sites.set(key, (site = { open: [], dialing: undefined }));
    const { open } = site;
    return (site.dialing ??= this.#dial(site, late).finally(() => {
      site.dialing = undefined;
      if (open.length === 0) this.#sites.delete(key);
    }));
  }

  async #dial(site: Site, { key, endpoint, trust, connectMs, untilMs }: Late): Promise<void> {
    while (this.#isFull()) {
      if (this.#roomIn(key)) return;
      // An idle connection of another endpoint makes room.
      if (!this.makeRoom()) this.options.elsewhere().makeRoom();
      if (performance.now() >= untilMs) throw busy(endpoint);
      await Bun.sleep(http2RoomLookMs);
    }
    const begunMs = performance.now();
    const tls = trust && { ...tlsOf(trust, endpoint.address), protocol: "h2" as const };
    const socket = await connectTo(endpoint, tls, connectMs, deaf);
    endpoint.heardMs = performance.now();
    if (tls && socket.alpnProtocol !== "h2") {
      socket.terminate();
      throw new Failure("tls_failed", `${endpoint.name} does not offer HTTP/2 over TLS`);
    }
    const connection = new Http2Upstream(endpoint.name, trust !== undefined, socket, this);
    socket.data.events = connection;
    this.#all.add(connection);
    this.#sweeper.add(connection);
    await greeted(connection, connectMs === 0 ? 0 : Math.max(1, connectMs - (performance.now() - begunMs)));
    // One that allows no streams, or leaves with its greeting, would be asked for another one for ever.
    if (!connection.hasRoom) {
      connection.shutDown();
      throw new Failure("connect_refused", `${endpoint.name} greets in HTTP/2 and takes no requests`);
    }
    site.open.push(connection);
  }

  #isFull(): boolean {
    const most = this.options.connectionsMax();
    return most > 0 && this.count + this.options.elsewhere().count >= most;
  }
}

/** A request that has no connection yet. */
interface Late {
  readonly attempt: Attempt;
  /** of its site */
  readonly key: string;
  readonly endpoint: Endpoint;
  readonly trust: Trust | undefined;
  readonly connectMs: number;
  /** performance.now() at which it is given up */
  readonly untilMs: number;
}

function busy({ name }: Endpoint): Failure {
  return new Failure("upstream_busy", `${name}: all its connections are full, and no more may be opened`);
}

/** An attempt until there is a connection for it. */
class Wait implements Underway {
  #over = false;

  constructor(readonly attempt: Attempt) {
    attempt.exchange.attend(this);
  }

  clientGone(): void {
    if (this.end()) this.attempt.failed(new Failure("client_gone", "the client left"));
  }

  /** @returns false when it is over already */
  end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.attempt.exchange.attend(undefined);
    return true;
  }
}

/** Its limits are known, and that it speaks HTTP/2 at all. @param waitMs 0 = no bound of its own @throws Failure */
async function greeted(connection: Http2Upstream, waitMs: number): Promise<void> {
  let timer: Timer | undefined;
  const why = await new Promise<string | undefined>((resolve) => {
    connection.onGreeting = resolve;
    if (waitMs > 0)
      timer = setTimeout(() => connection.cut(`no HTTP/2 greeting within ${Math.round(waitMs)} ms`), waitMs);
  });
  clearTimeout(timer);
  if (why !== undefined) throw new Failure("connect_refused", `${connection.name} does not speak HTTP/2: ${why}`);
}

/** Until the connection is put in place. */
const deaf: SocketEvents = { data() {}, drain() {}, end() {}, close() {} };
