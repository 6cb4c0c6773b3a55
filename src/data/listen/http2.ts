/**
 * One client connection in HTTP/2: opens an exchange for each request, on whatever transport it was given; by prior
 * knowledge on the plain port, by ALPN on the TLS port.
 */
import type { Reply } from "../exchange.ts";
import { Failure } from "../failure.ts";
import type { SaidOfClient } from "../forward/request-writer.ts";
import { refuse } from "../guards/guard.ts";
import { kindOfBadRequest } from "../observe/refusals.ts";
import type { Ending } from "../plane.ts";
import type { Secured } from "../tls/secured.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { Http2Connection, type Http2Owner, type Http2Timeouts } from "../wire/http2/connection.ts";
import type { FieldList } from "../wire/http2/field-list.ts";
import * as h2 from "../wire/http2/protocol.ts";
import { RequestFields } from "../wire/http2/request-fields.ts";
import type { OwnSettings } from "../wire/http2/settings.ts";
import type { Stream } from "../wire/http2/stream.ts";
import type { Transport } from "../wire/transport.ts";
import { http2StreamsMax, http2StreamWindow } from "../../lib/limits.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import { Http2Exchange } from "./http2-exchange.ts";
import { Http2Reply } from "./http2-reply.ts";
import { refusedUser } from "./http2-refused.ts";
import type { ClientConnection, Site } from "./socket.ts";

const fields = new RequestFields();

/** Takes a connection that speaks HTTP/2. @param handOver puts the connection's ears in place */
export function acceptHttp2(
  transport: Transport,
  peer: string,
  site: Site,
  handOver: (events: SocketEvents) => void,
  secured?: Secured,
): ClientConnection {
  const server = new Http2Server(transport, peer, site, secured);
  handOver(server);
  return server;
}

export class Http2Server implements Http2Owner, ClientConnection {
  readonly serial = newSerial();
  readonly role = "server";
  /** kept by the request writer */
  saidOfClient: SaidOfClient | undefined;
  readonly #wire: Http2Connection;
  #served = 0;

  constructor(
    transport: Transport,
    readonly peer: string,
    readonly site: Site,
    /** over TLS */
    readonly secured: Secured | undefined,
  ) {
    const settings: OwnSettings = [
      [h2.MAX_CONCURRENT_STREAMS, http2StreamsMax],
      [h2.INITIAL_WINDOW_SIZE, http2StreamWindow],
      [h2.MAX_HEADER_LIST_SIZE, site.options.headBytesMax],
      [h2.ENABLE_CONNECT_PROTOCOL, 1],
    ];
    this.#wire = new Http2Connection(transport, this, settings);
  }

  get busy(): boolean {
    return this.#wire.active > 0;
  }

  drainNow(): void {
    this.#wire.shutDown();
  }

  cut(): void {
    this.#wire.cut("the proxy ends");
  }

  // Events of the socket.

  data(chunk: Buffer): void {
    this.#wire.data(chunk);
  }

  drain(): void {
    this.#wire.drain();
  }

  end(): void {
    this.#wire.end();
  }

  close(error?: Error): void {
    this.#wire.close(error);
  }

  sweep(nowMs: number): void {
    this.#wire.sweep(nowMs);
  }

  // As the owner of the connection.

  get listBytesMax(): number {
    return this.site.options.headBytesMax;
  }

  timeouts(): Http2Timeouts {
    const { headerMs, writeMs, idleSeconds } = this.site.options.timeouts();
    return { headerMs, writeMs, idleMs: idleSeconds * 1000 };
  }

  request(stream: Stream, list: FieldList, ended: boolean): void {
    const status = fields.read(list);
    if (status < 0 || (ended && fields.contentLength > 0)) return this.#malformed(stream);
    if (status > 0) return this.#refuse(stream, status, fields.reason);
    const exchange = new Http2Exchange(this, stream, fields, ended);
    stream.user = exchange;
    try {
      this.site.options.handle(exchange);
    } catch (error) {
      exchange.fault(error);
    }
    const most = this.site.options.requestsMax();
    if ((++this.#served === most && most > 0) || this.site.draining) this.#wire.shutDown();
  }

  settled(): void {}

  leaving(): void {}

  idle(): void {}

  closed(code: number, why: string): void {
    if (code !== h2.NO_ERROR && why !== "" && code !== h2.CANCEL)
      this.site.options.log("debug", "client", `HTTP/2 with ${this.peer} ends (${h2.errorName(code)}): ${why}`);
    this.site.gone(this);
  }

  // Used by exchanges.

  /** Answers the exchange; undefined when its stream became a tunnel. */
  reply(exchange: Http2Exchange, reply: Reply | undefined): void {
    if (exchange.isGone || exchange.writer) {
      reply?.passed?.body?.cancel();
      // The client has left, and nobody has said so yet.
      if (!exchange.writer && !exchange.tunnel?.events)
        this.answered(exchange, { status: 499, bytesOut: 0, cut: true });
      return;
    }
    if (!reply) return;
    exchange.writer = new Http2Reply(exchange, reply);
    try {
      exchange.writer.begin();
    } catch (error) {
      this.site.options.failed(error);
      exchange.stream.reset(h2.INTERNAL_ERROR);
      exchange.writer.gone();
    }
  }

  /** The answer was written, as far as the windows allow, or cut. */
  answered(exchange: Http2Exchange, ending: Ending): void {
    exchange.body?.cancel();
    this.site.options.ended(exchange, ending);
    exchange.stream.finish();
  }

  /** The client has left before it was answered to the end. */
  left(exchange: Http2Exchange): void {
    // Without a reply the exchange ends when the pipeline gives it back: until then its stream counts.
    exchange.writer?.gone();
  }

  /** A call has taken longer than it may. */
  expire(exchange: Http2Exchange, failure: Failure): void {
    if (exchange.writer) return exchange.writer.cut(failure);
    exchange.failure = failure;
    this.reply(exchange, refuse(failure.status, failure.message));
    exchange.leave(failure);
  }

  #malformed(stream: Stream): void {
    const { reason } = fields;
    this.site.refusals.count(kindOfBadRequest(400, reason));
    this.site.options.log("debug", "client", `malformed HTTP/2 request of ${this.peer}: ${reason}`);
    stream.connection.refuseStream(stream, h2.PROTOCOL_ERROR, reason);
    stream.finish();
  }

  /** An answer to something that is no request for the pipeline. */
  #refuse(stream: Stream, status: number, why: string): void {
    this.site.refusals.count(kindOfBadRequest(status, why));
    this.site.options.log("debug", "client", `${status} to ${this.peer}: ${why}`);
    stream.user = refusedUser(stream);
    const { content, fields: lines } = refuse(status, why);
    const encoder = stream.beginHead();
    if (encoder) {
      encoder.status(status);
      for (const [name, value] of lines) encoder.text(name, value);
      stream.sendHead(false);
      stream.write(Buffer.from(String(content)));
      stream.end();
    }
    stream.finish();
  }
}
