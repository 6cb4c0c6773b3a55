/** A listener that speaks nothing but HTTP/2, with or without TLS, and answers what a handler says. */
import { join } from "node:path";
import type { Exchange, Reply } from "../../src/data/exchange.ts";
import { acceptHttp2 } from "../../src/data/listen/http2.ts";
import type { Site, SocketListenerOptions } from "../../src/data/listen/socket.ts";
import { Refusals } from "../../src/data/observe/refusals.ts";
import type { Ending } from "../../src/data/plane.ts";
import type { Secured } from "../../src/data/tls/secured.ts";
import type { SocketEvents } from "../../src/data/wire/dial.ts";
import { sweepMs } from "../../src/lib/limits.ts";
import { NumberedSet } from "../../src/lib/numbered-set.ts";
import { Sweeper } from "../../src/lib/sweeper.ts";

export interface Http2Site extends AsyncDisposable {
  readonly port: number;
  readonly site: Site;
  readonly endings: { readonly exchange: Exchange; readonly ending: Ending }[];
  readonly faults: unknown[];
  readonly log: string[];
}

export interface Http2SiteOptions {
  readonly tls?: boolean;
  /** in ms; the defaults never come into play in a test */
  readonly headerMs?: number;
  readonly bodyMs?: number;
  readonly writeMs?: number;
  readonly idleMs?: number;
  readonly requestsMax?: number;
}

/** What a connection over TLS is known by. */
const known: Secured = { serverName: "", policy: "", client: undefined, problem: "" };

const certs = join(import.meta.dir, "../../certs");

export async function startHttp2Site(
  handle: (exchange: Exchange) => Reply | Promise<Reply | undefined>,
  { tls = false, headerMs = 0, bodyMs = 0, writeMs = 0, idleMs = 0, requestsMax = 0 }: Http2SiteOptions = {},
): Promise<Http2Site> {
  const endings: { exchange: Exchange; ending: Ending }[] = [];
  const faults: unknown[] = [];
  const log: string[] = [];
  const options: SocketListenerOptions = {
    address: { hostname: "127.0.0.1", port: 0 },
    timeouts: () => ({ headerMs, bodyMs, writeMs, idleSeconds: idleMs / 1000 }),
    headBytesMax: 64 * 1024,
    http2: true,
    requestsMax: () => requestsMax,
    connectionsMax: () => 0,
    handle(exchange) {
      const reply = handle(exchange);
      if (!(reply instanceof Promise)) return exchange.reply(reply);
      reply.then(
        (late) => exchange.reply(late),
        (error: unknown) => exchange.fault(error),
      );
    },
    ended: (exchange, ending) => endings.push({ exchange, ending }),
    failed: (error) => faults.push(error),
    log: (_level, _target, text) => log.push(text),
  };
  const site: Site = {
    options,
    sweeper: new Sweeper(sweepMs),
    connections: new NumberedSet(),
    refusals: new Refusals(),
    port: 0,
    draining: false,
    gone(connection) {
      site.connections.delete(connection);
      site.sweeper.delete(connection);
    },
  };
  interface Data {
    events: SocketEvents;
  }
  const secured = tls ? known : undefined;
  const accept = (socket: Bun.Socket<Data>) => {
    const connection = acceptHttp2(socket, "127.0.0.1", site, (events) => (socket.data = { events }), secured);
    site.connections.add(connection);
    site.sweeper.add(connection);
  };
  const listener = Bun.listen<Data>({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    ...(tls && {
      tls: {
        key: await Bun.file(join(certs, "dev.key")).text(),
        cert: await Bun.file(join(certs, "dev.crt")).text(),
        ALPNProtocols: "\x02h2",
      },
    }),
    socket: {
      open: (socket) => (tls ? undefined : accept(socket)),
      handshake: (socket) => accept(socket),
      data: (socket, chunk) => socket.data.events.data(chunk as Buffer<ArrayBuffer>),
      drain: (socket) => socket.data?.events.drain(),
      end: (socket) => socket.data?.events.end(),
      close: (socket, error) => socket.data?.events.close(error),
      error(socket, error) {
        faults.push(error);
        socket.terminate();
      },
    },
  } as Bun.TCPSocketListenOptions<Data>);
  return {
    port: listener.port,
    site,
    endings,
    faults,
    log,
    async [Symbol.asyncDispose]() {
      listener.stop(true);
      for (const connection of [...site.connections]) connection.cut();
    },
  };
}

/** An answer of text. */
export function say(text: string, status = 200): Reply {
  return { status, fields: [["Content-Type", "text/plain"]], content: text, why: "" };
}
