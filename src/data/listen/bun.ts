/** The listener engine `bun`: Bun.serve opens exchanges and writes replies. */
import { normaliseIp, showListen } from "../../lib/address.ts";
import { hasToken } from "../../lib/fields.ts";
import { hasConnections, tuneListener } from "../../lib/listening-sockets.ts";
import {
  acceptQueueMax,
  collectedBodyBytesMax,
  collectedBodyWaitMs,
  drainIdleMs,
  drainLookMs,
  webSocketMessageBytesMax,
  webSocketQueueBytesMax,
} from "../../lib/limits.ts";
import {
  Exchange,
  type Answer,
  type FieldVisitor,
  type HttpVersion,
  type Reply,
  type WebSocketAccept,
  type WebSocketPeer,
} from "../exchange.ts";
import { contentLength } from "../forward/http.ts";
import { StreamBody } from "../forward/stream-body.ts";
import { copyFields } from "../headers/edits.ts";
import { AnswerStream } from "./answer-stream.ts";
import { visible, type Listener, type ListenerOptions } from "./listener.ts";

type Server = Bun.Server<WebSocketAccept>;
type Socket = Bun.ServerWebSocket<WebSocketAccept>;

/** What makes it a TLS listener. */
export interface BunTls {
  /** the first is the default, the only one without `serverName`; never empty (bun-facts 2: that would be cleartext) */
  readonly entries: readonly [Bun.TLSOptions, ...Bun.TLSOptions[]];
  readonly http2: boolean;
  readonly http3: boolean;
}

export interface BunListener extends Listener {
  /** Answers from now on ask their clients to come back on another connection. */
  retire(): void;
}

/** @throws the error of Bun.serve: EADDRINUSE, EACCES, … */
export function listenBun(options: ListenerOptions, tls?: BunTls): BunListener {
  const { address } = options;
  let draining = false;
  const handlers = {
    development: false as const,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    async fetch(request: Request, server: Server): Promise<Response> {
      const exchange = new BunExchange(request, server, options, tls !== undefined);
      try {
        // The idle timeout would also cut a request that its upstream is slow to answer; our own timers take over.
        server.timeout(request, 0);
        options.handle(exchange);
        const reply = await exchange.replied;
        // After a successful upgrade Bun wants no Response; undefined is its documented way, which its types do not know.
        if (!reply) return undefined as unknown as Response;
        return await write(exchange, reply, draining);
      } catch (error) {
        options.failed(error);
        options.ended(exchange, { status: 500, bytesOut: 0, cut: false });
        return new Response("500 Internal Server Error: the proxy failed on this request\n", { status: 500 });
      }
    },
    error(error: Error): Response {
      options.failed(error);
      return new Response("500 Internal Server Error: the proxy failed on this request\n", { status: 500 });
    },
    websocket: {
      maxPayloadLength: webSocketMessageBytesMax,
      backpressureLimit: webSocketQueueBytesMax,
      closeOnBackpressureLimit: true,
      idleTimeout: 0,
      sendPings: false,
      perMessageDeflate: false,
      open: (socket: Socket) => socket.data.opened(peerOf(socket)),
      // A Buffer given here is fresh and ours: no copy.
      message: (socket: Socket, data: string | Buffer) => socket.data.message(data as string | Uint8Array<ArrayBuffer>),
      ping: (socket: Socket, data: Buffer) => socket.data.ping(data),
      // BUN(1.4.4): drain also comes while bytes still wait; remove when it does not.
      drain: (socket: Socket) => (socket.getBufferedAmount() === 0 ? socket.data.drained() : undefined),
      close: (socket: Socket, code: number, reason: string) => socket.data.closed(code, reason),
    },
  };
  const server =
    "unix" in address
      ? Bun.serve<WebSocketAccept>({ unix: address.unix, ...handlers })
      : Bun.serve<WebSocketAccept>({
          hostname: address.hostname,
          port: address.port,
          // BUN(1.4.4): `development: false` alone switches SO_REUSEPORT on; remove when it does not. With TLS the next
          // set of certificates needs a second listener on the port.
          reusePort: tls !== undefined || options.sharesPort === true || options.mayShareLater === true,
          ...(tls && { tls: [...tls.entries], http2: tls.http2, http3: tls.http3 }),
          idleTimeout: idleTimeout(options),
          ...handlers,
        });
  const port = server.port ?? 0;
  tuneListener(port, acceptQueueMax, options.keepAlive);
  return {
    url:
      "unix" in address
        ? showListen(address)
        : `http${tls ? "s" : ""}://${showListen({ hostname: visible(address.hostname), port })}`,
    port,
    retire: () => void (draining = true),
    // BUN(1.4.4): stop() resets idle kept connections, whose clients may be sending; remove when it does not.
    async forewarn() {
      draining = true;
      const untilMs = performance.now() + drainIdleMs;
      while (hasConnections(port) && performance.now() < untilMs) await Bun.sleep(drainLookMs);
    },
    async drain() {
      draining = true;
      await server.stop();
    },
    close: () => server.stop(true),
    get open() {
      return server.pendingRequests + server.pendingWebSockets;
    },
  };
}

class BunExchange extends Exchange {
  readonly method: string;
  readonly target: string;
  readonly version: HttpVersion;
  readonly peer: string;
  readonly authority: string | undefined;
  readonly body: StreamBody | undefined;
  readonly #reply = Promise.withResolvers<Reply | undefined>();

  constructor(
    readonly request: Request,
    readonly server: Server,
    readonly options: ListenerOptions,
    readonly secure: boolean,
  ) {
    super();
    this.method = request.method;
    this.target = originForm(request.url);
    this.authority = request.headers.get("host") ?? undefined;
    // BUN(1.4.4): the version is not told; a missing Host can only be HTTP/1.0. Remove when Request has it.
    this.version = this.authority === undefined ? "HTTP/1.0" : "HTTP/1.1";
    const ip = server.requestIP(request);
    this.peer = ip ? normaliseIp(ip.address) : "";
    if (request.body && request.method !== "GET" && request.method !== "HEAD") {
      this.body = new StreamBody(request.body, {
        length: contentLength(singleValue(request.headers.get("content-length"))),
        silenceMs: options.timeouts().bodyMs,
        onSilence: "client_timeout",
        onCut: "client_gone",
        source: "the request body",
      });
    }
  }

  get localPort(): number {
    return this.server.port ?? 0;
  }

  override get bytesIn(): number {
    return this.body?.received ?? 0;
  }

  field(name: string): string | undefined {
    return this.request.headers.get(name) ?? undefined;
  }

  eachField(visit: FieldVisitor): void {
    this.request.headers.forEach((value, name) => visit(name, value));
  }

  onClientGone(act: () => void): void {
    const { signal } = this.request;
    if (signal.aborted) act();
    else signal.addEventListener("abort", act, { once: true });
  }

  get replied(): Promise<Reply | undefined> {
    return this.#reply.promise;
  }

  reply(reply: Reply | undefined): void {
    this.#reply.resolve(reply);
  }

  fault(error: unknown): void {
    this.#reply.reject(error);
  }

  acceptWebSocket(accept: WebSocketAccept): boolean {
    const headers = new Headers(accept.fields.map(([name, value]): [string, string] => [name, value]));
    // BUN(1.4.4): without this field Bun picks the client's first offer; "" means none. Remove when it picks none.
    headers.set("Sec-WebSocket-Protocol", accept.protocol ?? "");
    return this.server.upgrade(this.request, { data: accept, headers });
  }
}

/** A Content-Length sent twice with one value arrives as "3, 3". */
function singleValue(value: string | null): string | undefined {
  return value?.split(",")[0]!.trim();
}

/** Path and query of `req.url`, which is absolute for a valid Host and relative for an odd one. */
function originForm(url: string): string {
  if (url.startsWith("/")) return url;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return start < 0 ? "/" : url.slice(start);
}

async function write(exchange: BunExchange, reply: Reply, draining: boolean): Promise<Response> {
  const headers = new Headers();
  // Bun closes on the client's wish without saying so (RFC 9112 9.6).
  if (draining || hasToken(exchange.field("connection"), "close")) headers.set("Connection", "close");
  const response = reply.passed
    ? await writePassed(exchange, reply, reply.passed, headers)
    : writeOwn(exchange, reply, headers);
  return response;
}

function writeOwn(exchange: BunExchange, reply: Exclude<Reply, { passed: Answer }>, headers: Headers): Response {
  for (const [name, value] of reply.fields) headers.append(name, value);
  const { content } = reply;
  restoreIdle(exchange);
  if (content instanceof Blob && content.size > 0) {
    exchange.options.ended(exchange, { status: reply.status, bytesOut: content.size, cut: false });
    return new Response(content, { status: reply.status, headers });
  }
  const bytes = content === undefined ? 0 : content instanceof Blob ? 0 : Buffer.byteLength(content);
  exchange.options.ended(exchange, {
    status: reply.status,
    bytesOut: exchange.method === "HEAD" ? 0 : bytes,
    cut: false,
  });
  return new Response(nullBody(reply.status) || content === undefined ? null : content, {
    status: reply.status,
    headers,
  });
}

/** The next request on this connection is waited for with the idle timeout again: the value sticks to the connection. */
function restoreIdle({ server, request, options }: BunExchange): void {
  server.timeout(request, idleTimeout(options));
}

/** Bun's own bound is 255 s. */
function idleTimeout(options: ListenerOptions): number {
  return Math.min(255, Math.ceil(options.timeouts().idleSeconds));
}

function nullBody(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

async function writePassed(
  exchange: BunExchange,
  reply: Extract<Reply, { passed: Answer }>,
  answer: Answer,
  headers: Headers,
): Promise<Response> {
  const { body } = answer;
  copyFields(
    answer,
    reply.edits,
    (lower) => lower !== "content-length" || !body,
    (name, value) => headers.append(name, value),
  );
  for (const [name, value] of reply.edits.lines) headers.append(name, value);
  for (const [name, value] of reply.fields) headers.append(name, value);
  const init = { status: answer.status, headers };
  if (!body) {
    // BUN(1.4.4): HEAD without Content-Length gets a false `content-length: 0`; remove when it gets none.
    if (exchange.method === "HEAD" && !headers.has("content-length")) headers.set("Transfer-Encoding", "chunked");
    restoreIdle(exchange);
    exchange.options.ended(exchange, { status: answer.status, bytesOut: 0, cut: false });
    return new Response(null, init);
  }
  const stream = new AnswerStream(body, exchange.options.timeouts().writeMs, ({ bytes, cut, failure }) => {
    restoreIdle(exchange);
    // An answer may come before the request was read to its end: what is left is not wanted, and would pile up.
    exchange.body?.cancel();
    exchange.options.ended(exchange, { status: answer.status, bytesOut: bytes, cut, failure });
  });
  if (body.length >= 0 && body.length <= collectedBodyBytesMax) {
    const whole = await stream.collect(collectedBodyWaitMs);
    if (whole) return new Response(whole, init);
  }
  return new Response(stream.readable(), init);
}

function peerOf(socket: Socket): WebSocketPeer {
  return {
    // `send` returns 0 for an empty message too, so what is queued decides.
    send: (data) => (socket.send(data), socket.getBufferedAmount() === 0),
    ping: (data) => void socket.ping(data),
    close: (code, reason) => socket.close(code, reason),
    terminate: () => socket.terminate(),
  };
}
