/**
 * The forwarder for upstreams that speak HTTP/2, over TLS or by prior knowledge: few connections to each endpoint, many
 * requests on each at once; another connection is opened when all are full.
 */
import { sweepMs } from "../../lib/limits.ts";
import { Sweeper } from "../../lib/sweeper.ts";
import type { Answer } from "../exchange.ts";
import { Failure } from "../failure.ts";
import type { Trust } from "../routing/table.ts";
import { wireOf } from "../upstream/pool.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { connectTo } from "./connect.ts";
import type { Attempt, Forwarder } from "./forwarder.ts";
import { settleWire } from "./http.ts";
import { Http2Upstream, type Http2Pool } from "./http2-connection.ts";
import { tlsOf, trustKey, warnUnverified } from "./trust.ts";

export interface Http2ForwarderOptions {
  readonly loopMark: string;
  /** connections without streams are closed after this; 0 = never */
  keepaliveMs(): number;
  /** connections open at once; 0 = no bound */
  connectionsMax(): number;
  log(level: "warn" | "debug", target: string, text: string): void;
}

/** Connections to one endpoint under one trust. */
interface Site {
  readonly open: Http2Upstream[];
  /** one connection at a time is opened, for all who wait */
  dialing: Promise<void> | undefined;
}

export class Http2Forwarder implements Forwarder, Http2Pool {
  readonly loopMark: string;
  readonly #sites = new Map<string, Site>();
  readonly #sweeper = new Sweeper(sweepMs);
  readonly #all = new Set<Http2Upstream>();

  constructor(readonly options: Http2ForwarderOptions) {
    this.loopMark = options.loopMark;
  }

  async forward(attempt: Attempt): Promise<Answer> {
    const { member, route } = attempt;
    const { endpoint } = member;
    if (member.protocol === "auto" && endpoint.wire === undefined) await settleWire(member);
    const trust = wireOf(member) === "h2c" ? undefined : route.trust;
    if (trust && !trust.verify) warnUnverified(endpoint, this.options.log);
    const key = trust ? `${endpoint.name} ${trustKey(trust)}` : `${endpoint.name} `;
    const { connectMs } = route.timeouts;
    let connection: Http2Upstream | undefined;
    // Asked again behind each wait, and used at once: others were waiting for the same room.
    while (!(connection = this.#roomIn(key))) await this.#opened(key, endpoint, trust, connectMs);
    const reused = connection.served > 0;
    try {
      return await connection.exchange(attempt);
    } catch (error) {
      // What the server has not looked at may go there again; what it dropped with its connection, if it may be repeated.
      const { code } = error as Failure;
      const unseen = code === "refused_stream";
      const again = unseen || (code === "early_reset" && reused) ? attempt.again(unseen) : undefined;
      if (!again) throw error;
      while (!(connection = this.#roomIn(key))) await this.#opened(key, endpoint, trust, connectMs);
      return connection.exchange({ ...attempt, body: again.body });
    }
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

  keepaliveMs(): number {
    return this.options.keepaliveMs();
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

  /** Another connection is open. @throws Failure */
  #opened(key: string, endpoint: Endpoint, trust: Trust | undefined, connectMs: number): Promise<void> {
    let site = this.#sites.get(key);
    if (!site) this.#sites.set(key, (site = { open: [], dialing: undefined }));
    const { open } = site;
    return (site.dialing ??= this.#dial(site, endpoint, trust, connectMs).finally(() => {
      site.dialing = undefined;
      if (open.length === 0) this.#sites.delete(key);
    }));
  }

  async #dial(site: Site, endpoint: Endpoint, trust: Trust | undefined, connectMs: number): Promise<void> {
    const most = this.options.connectionsMax();
    if (most > 0 && this.#all.size >= most)
      throw new Failure("upstream_busy", `${endpoint.name}: all its connections are full, and no more may be opened`);
    const begunMs = performance.now();
    const tls = trust && { ...tlsOf(trust), protocol: "h2" as const };
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
    site.open.push(connection);
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
