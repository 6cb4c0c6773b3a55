/** The listener engine `socket`: Bun.listen, with our own HTTP/1.1 on each connection. */
import { normaliseIp, showListen, type ListenAddress } from "../../lib/address.ts";
import { sweepMs } from "../../lib/limits.ts";
import { Sweeper, type Swept } from "../../lib/sweeper.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { visible, type ClientTimeouts, type Listener, type ListenerOptions } from "./listener.ts";
import { Http1Connection } from "./http1.ts";

export interface SocketListenerOptions extends ListenerOptions {
  timeouts(): ClientTimeouts & { readonly headerMs: number };
  readonly headBytesMax: number;
  /** HTTP/2 by prior knowledge is served */
  readonly http2: boolean;
  /** requests per connection; 0 = no bound */
  requestsMax(): number;
  /** connections per process; 0 = no bound */
  connectionsMax(): number;
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
  readonly connections: Set<ClientConnection>;
  port: number;
  draining: boolean;
  gone(connection: ClientConnection): void;
}

interface Data {
  events: SocketEvents;
}

/** @throws the error of Bun.listen: EADDRINUSE, EACCES, … */
export function listenSocket(options: SocketListenerOptions): Listener {
  const { address } = options;
  let drained: (() => void) | undefined;
  const site: Site = {
    options,
    sweeper: new Sweeper(sweepMs),
    connections: new Set(),
    port: 0,
    draining: false,
    gone(connection) {
      site.connections.delete(connection);
      site.sweeper.delete(connection);
      if (site.connections.size === 0) drained?.();
    },
  };
  const handlers: Bun.SocketHandler<Data> = {
    open(socket) {
      const most = options.connectionsMax();
      if (most > 0 && site.connections.size >= most) {
        socket.data = { events: deaf };
        socket.end(
          "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        );
        return;
      }
      const connection = new Http1Connection(
        socket,
        "unix" in address ? "" : normaliseIp(socket.remoteAddress),
        site,
        (events) => (socket.data.events = events),
      );
      socket.data = { events: connection };
      site.connections.add(connection);
      site.sweeper.add(connection);
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
  const listener = listen(address, handlers);
  site.port = "port" in listener ? listener.port : 0;
  return {
    url:
      "unix" in address
        ? showListen(address)
        : `http://${showListen({ hostname: visible(address.hostname), port: site.port })}`,
    port: site.port,
    drain() {
      site.draining = true;
      listener.stop();
      for (const connection of [...site.connections]) connection.drainNow();
      return new Promise((resolve) => {
        if (site.connections.size === 0) resolve();
        else drained = resolve;
      });
    },
    async close() {
      listener.stop(true);
      for (const connection of [...site.connections]) connection.cut();
    },
    get open() {
      let open = 0;
      for (const connection of site.connections) if (connection.busy) open++;
      return open;
    },
  };
}

function listen(address: ListenAddress, socket: Bun.SocketHandler<Data>) {
  const common = { socket, allowHalfOpen: true };
  return "unix" in address
    ? Bun.listen<Data>({ unix: address.unix, ...common })
    : Bun.listen<Data>({ hostname: address.hostname, port: address.port, exclusive: true, ...common });
}

const deaf: SocketEvents = { data() {}, drain() {}, end() {}, close() {} };
