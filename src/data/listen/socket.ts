/** The listener engine `socket`: Bun.listen, with our own HTTP/1.1 on each connection. */
import { normaliseIp, showListen, type ListenAddress } from "../../lib/address.ts";
import { descriptorReserve } from "../../lib/descriptor-reserve.ts";
import { acceptQueueMax, sweepMs, turnedAwayMax, warningEveryMs } from "../../lib/limits.ts";
import { tuneListener } from "../../lib/listening-sockets.ts";
import { NumberedSet } from "../../lib/numbered-set.ts";
import { SparseWarning } from "../../lib/sparse-warning.ts";
import { Sweeper, type Swept } from "../../lib/sweeper.ts";
import { Refusals, type RefusalReason } from "../observe/refusals.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { visible, type ClientTimeouts, type Listener, type ListenerOptions } from "./listener.ts";
import { Http1Connection } from "./http1.ts";
import { turnAwayAtOnce, TurnedAway } from "./turned-away.ts";

export interface SocketListenerOptions extends ListenerOptions {
  timeouts(): ClientTimeouts & { readonly headerMs: number };
  readonly headBytesMax: number;
  /** HTTP/2 by prior knowledge is served, on a port without TLS */
  readonly http2?: boolean;
  /** requests per connection; 0 = no bound */
  requestsMax(): number;
  /** connections per process; 0 = no bound */
  connectionsMax(): number;
  /** where clients that are turned away are counted; its own where none is given */
  readonly refusals?: Refusals;
  log(level: "warn" | "debug", target: string, text: string): void;
}

/** One client connection, whatever it speaks. */
export interface ClientConnection extends SocketEvents, Swept {
  /** it has an exchange or a tunnel under way */
  readonly busy: boolean;
  drainNow(): void;
  cut(): void;
}

/** What the connections of one listener share. */
export interface Site {
  readonly options: SocketListenerOptions;
  readonly sweeper: Sweeper;
  readonly connections: NumberedSet<ClientConnection>;
  readonly refusals: Refusals;
  port: number;
  draining: boolean;
  gone(connection: ClientConnection): void;
}

interface Data {
  events: SocketEvents;
}

/** A connection of any listener of this process counts: they share its files. */
export const census = { connections: 0 };

/** @throws the error of Bun.listen: EADDRINUSE, EACCES, … */
export function listenSocket(options: SocketListenerOptions): Listener {
  const { address } = options;
  let drained: (() => void) | undefined;
  const site: Site = {
    options,
    sweeper: new Sweeper(sweepMs),
    connections: new NumberedSet(),
    refusals: options.refusals ?? new Refusals(),
    port: 0,
    draining: false,
    gone(connection) {
      if (site.connections.delete(connection)) census.connections--;
      site.sweeper.delete(connection);
      if (site.connections.size === 0) drained?.();
    },
  };
  const door = new Door(site);
  const handlers: Bun.SocketHandler<Data> = {
    open(socket) {
      socket.data = { events: deaf };
      // A client that has reset the connection before it was accepted has no address any more.
      const peer = "unix" in address ? "" : (socket.remoteAddress as string | undefined);
      if (peer === undefined) return void socket.terminate();
      const reason = door.refuses(socket);
      if (reason !== undefined) return door.turnAway(socket, peer, reason);
      const connection = new Http1Connection(
        socket,
        normaliseIp(peer),
        site,
        (events) => (socket.data.events = events),
      );
      socket.data.events = connection;
      census.connections++;
      site.connections.add(connection);
      site.sweeper.add(connection);
      if (site.draining) connection.drainNow();
    },
    data: (socket, chunk) => socket.data.events.data(chunk as Buffer<ArrayBuffer>),
    drain: (socket) => socket.data.events.drain(),
    end: (socket) => socket.data.events.end(),
    close: (socket, error) => socket.data?.events.close(error),
    error(socket, error) {
      options.failed(error);
      socket.terminate();
    },
  };
  const listener = listen(address, (options.sharesPort || options.mayShareLater) ?? false, handlers);
  descriptorReserve.hold();
  let stopped = false;
  const stop = (now: boolean) => {
    listener.stop(now);
    if (!stopped) descriptorReserve.letGo();
    stopped = true;
  };
  site.port = "port" in listener ? listener.port : 0;
  tuneListener(site.port, acceptQueueMax, options.keepAlive);
  return {
    url:
      "unix" in address
        ? showListen(address)
        : `http://${showListen({ hostname: visible(address.hostname), port: site.port })}`,
    port: site.port,
    drain() {
      site.draining = true;
      stop(false);
      for (const connection of site.connections) connection.drainNow();
      return new Promise((resolve) => {
        if (site.connections.size === 0) resolve();
        else drained = resolve;
      });
    },
    async close() {
      stop(true);
      door.close();
      for (const connection of site.connections) connection.cut();
    },
    get open() {
      let open = 0;
      for (const connection of site.connections) if (connection.busy) open++;
      return open;
    },
  };
}

/** Clients and upstreams share 90 % of the files by default; these take half of the rest. */
const lingeringMax = Math.min(turnedAwayMax, Math.floor(descriptorReserve.max / 20));

/** Who may come in: not more than there is room for. */
class Door {
  readonly #turnedAway = new NumberedSet<TurnedAway>();
  readonly #crowded: SparseWarning;
  readonly #exhausted: SparseWarning;

  constructor(readonly site: Site) {
    const { options } = site;
    const warn = (text: (count: number) => string) =>
      new SparseWarning(warningEveryMs, (count) => options.log("warn", "client", text(count)));
    this.#crowded = warn(
      (count) => `503 to ${count} new connections: max_connections (${options.connectionsMax()}) are open`,
    );
    this.#exhausted = warn(
      (count) => `503 to ${count} new connections: too many open files (the limit is ${descriptorReserve.max})`,
    );
  }

  /** @returns why a new connection must go, or undefined */
  refuses(socket: Bun.Socket<Data>): RefusalReason | undefined {
    return refusalOf(socket, this.site.options.connectionsMax());
  }

  turnAway(socket: Bun.Socket<Data>, peer: string, reason: RefusalReason): void {
    const { options, refusals, sweeper } = this.site;
    refusals.count(reason);
    options.log("debug", "client", `503 to ${peer}: ${reason}`);
    (reason === "too_many_files" ? this.#exhausted : this.#crowded).hit(performance.now());
    if (reason === "too_many_files" || this.#turnedAway.size >= lingeringMax) return turnAwayAtOnce(socket);
    const turned = new TurnedAway(socket, (self) => {
      this.#turnedAway.delete(self);
      sweeper.delete(self);
    });
    socket.data.events = turned;
    this.#turnedAway.add(turned);
    sweeper.add(turned);
    turned.begin();
  }

  close(): void {
    for (const turned of this.#turnedAway) turned.cut();
  }
}

/** Why a new connection must go, or undefined. @param most connections per process; 0 = no bound */
export function refusalOf(
  socket: Bun.Socket<unknown>,
  most: number,
): "too_many_files" | "too_many_connections" | undefined {
  if (descriptorReserve.refuses(descriptorOf(socket))) return "too_many_files";
  return most > 0 && census.connections >= most ? "too_many_connections" : undefined;
}

/** BUN(1.4.4): the types do not know a socket's `fd`; remove when they do. */
export function descriptorOf(socket: Bun.Socket<unknown>): number {
  return (socket as { fd?: number }).fd ?? -1;
}

function listen(address: ListenAddress, sharesPort: boolean, socket: Bun.SocketHandler<Data>) {
  const common = { socket, allowHalfOpen: true };
  const port = sharesPort ? { reusePort: true } : { exclusive: true };
  return "unix" in address
    ? Bun.listen<Data>({ unix: address.unix, ...common })
    : Bun.listen<Data>({ hostname: address.hostname, port: address.port, ...port, ...common });
}

/** Hears nothing: for sockets that are only waiting for their end. */
export /** Hears nothing: for sockets that are only waiting for their end. */
const deaf: SocketEvents = { data() {}, drain() {}, end() {}, close() {} };
