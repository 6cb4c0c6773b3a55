/**
 * One client connection in HTTP/1.1 (RFC 9112): requests are read strictly, one exchange at a time; what follows on the
 * connection waits. No timer, promise or closure of its own for a plain request: timeouts are swept.
 */
import { fieldLinesMax, halfClosedMs, lingerBytesMax, lingerMs, pipelinedBytesMax } from "../../lib/limits.ts";
import type { Swept } from "../../lib/sweeper.ts";
import type { FieldLine } from "../body.ts";
import type { Answer, Reply } from "../exchange.ts";
import type { Said } from "../forward/request-writer.ts";
import { refuse } from "../guards/guard.ts";
import type { HeaderEdits } from "../headers/edits.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { findHeadEnd, hasBareLineFeed, isAt } from "../wire/head-bytes.ts";
import { Output } from "../wire/output.ts";
import { parseRequestHead, RequestHead, statusOfOverlong, type RequestLimits } from "../wire/request-head.ts";
import type { Transport } from "../wire/transport.ts";
import { Http1Exchange } from "./http1-exchange.ts";
import { acceptHttp2 } from "./http2.ts";
import { ReplyWriter } from "./reply-writer.ts";
import type { Site } from "./socket.ts";
import { splice } from "./splice.ts";

export class Http1Connection implements SocketEvents, Swept {
  readonly out: Output;
  #input: Buffer | undefined;
  #scanned = 0;
  readonly #head = new RequestHead();
  readonly #limits: RequestLimits;
  /** kept by the request writer */
  said: Said | undefined;
  #exchange: Http1Exchange | undefined;
  #writer: ReplyWriter | undefined;
  #served = 0;
  /** when what the state waits for began, or last moved */
  #sinceMs = performance.now();
  #state: "idle" | "head" | "busy" | "linger" | "closed" = "idle";
  #paused = false;
  #processing = false;
  #lingered = 0;
  /** the client sent FIN: it may still read */
  #finished = false;
  #finishedMs = 0;

  constructor(
    readonly transport: Transport,
    readonly peer: string,
    readonly site: Site,
    readonly handOver: (events: SocketEvents) => void,
  ) {
    this.out = new Output(transport);
    const { headBytesMax } = site.options;
    this.#limits = { targetBytesMax: headBytesMax, headBytesMax, linesMax: fieldLinesMax };
  }

  get busy(): boolean {
    return this.#state === "busy";
  }

  // Events of the socket.

  data(chunk: Buffer): void {
    if (this.#state === "closed") return;
    if (this.#state === "linger") {
      this.#lingered += chunk.length;
      if (this.#lingered > lingerBytesMax) this.cut();
      return;
    }
    this.#input = this.#input ? Buffer.concat([this.#input, chunk]) : chunk;
    if (this.#state === "busy") {
      this.#exchange!.body?.arrived();
      // The next requests wait; more than a little of them must wait in the kernel.
      if (this.#input && this.#input.length > pipelinedBytesMax) this.pause();
      return;
    }
    this.#read();
  }

  drain(): void {
    this.#sinceMs = performance.now();
    if (this.out.drain()) this.#writer?.drained();
  }

  end(): void {
    this.#finished = true;
    // A half-closed client still wants its answer (bun-facts 7), but looks just like one that has left: it gets a while.
    // One that is between requests is done.
    this.#finishedMs = performance.now();
    if (this.#state === "busy") this.#exchange?.body?.ended();
    else this.shut();
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.site.gone(this);
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.gone();
    if (this.#writer) this.#writer.gone();
    else if (exchange) this.site.options.ended(exchange, { status: 499, bytesOut: 0, cut: true });
  }

  sweep(nowMs: number): void {
    const { headerMs, bodyMs, writeMs, idleSeconds } = this.site.options.timeouts();
    const silentMs = nowMs - this.#sinceMs;
    if (this.#state === "idle") {
      if (idleSeconds > 0 && silentMs > idleSeconds * 1000) this.shut();
    } else if (this.#state === "head") {
      if (headerMs > 0 && silentMs > headerMs) this.#refuse(408, "the request head did not arrive in time");
    } else if (this.#state === "linger") {
      if (silentMs > lingerMs) this.cut();
    } else if (this.#state === "busy") {
      if (this.#finished && nowMs - Math.max(this.#finishedMs, this.#sinceMs) > halfClosedMs) return this.cut();
      if (this.out.queuedBytes > 0) {
        if (writeMs > 0 && silentMs > writeMs) this.#writer?.unread(writeMs);
      } else this.#exchange!.body?.sweep(nowMs, bodyMs);
    }
  }

  /** Something of the answer goes out. */
  moved(): void {
    this.#sinceMs = performance.now();
  }

  /** Draining: an idle connection ends now, a busy one after its answer. */
  drainNow(): void {
    if (this.#state === "idle") this.shut();
  }

  /** Ends it in order. */
  shut(): void {
    if (this.#state === "closed") return;
    this.transport.end();
    this.close();
  }

  /** Ends it at once. */
  cut(): void {
    if (this.#state === "closed") return;
    this.transport.terminate();
    this.close();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.transport.pause();
  }

  unpause(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.transport.resume();
  }

  /** unread input; the body takes from it */
  get input(): Buffer | undefined {
    return this.#input;
  }

  /** @param length of the input when it was read: whoever got the bytes may have given their memory back */
  consumed(bytes: number, length: number): void {
    this.#input = bytes === length ? undefined : this.#input!.subarray(bytes);
  }

  /** Reads requests as long as the one before is answered at once. */
  #read(): void {
    if (this.#processing) return;
    this.#processing = true;
    while (this.#input && (this.#state === "idle" || this.#state === "head")) if (!this.#readHead(this.#input)) break;
    this.#processing = false;
  }

  /** @returns false when more bytes are needed */
  #readHead(input: Buffer): boolean {
    const { headBytesMax } = this.site.options;
    if (this.#state === "idle") {
      this.#state = "head";
      this.#sinceMs = performance.now();
      this.#scanned = 0;
    }
    const end = findHeadEnd(input, this.#scanned);
    if (end < 0) {
      if (hasBareLineFeed(input, Math.max(0, this.#scanned - 1), input.length))
        return this.#refuse(400, "the request holds a bare line feed");
      this.#scanned = Math.max(0, input.length - 3);
      if (input.length > headBytesMax) {
        const status = statusOfOverlong(input, 0, this.#limits);
        return this.#refuse(status, status === 414 ? "the target is too long" : "the request head is too long");
      }
      return false;
    }
    const head = this.#head;
    const status = parseRequestHead(head, input, 0, end, this.#limits);
    if (status === 505 && this.#served === 0 && this.site.options.http2 && isPreface(input)) {
      this.#becomeHttp2(input);
      return false;
    }
    if (status !== 0) return this.#refuse(status, head.reason);
    this.consumed(end, input.length);
    this.#scanned = 0;
    this.#state = "busy";
    this.#served++;
    const exchange = (this.#exchange = new Http1Exchange(this, head));
    void this.#serve(exchange);
    return true;
  }

  async #serve(exchange: Http1Exchange): Promise<void> {
    const { options } = this.site;
    let reply: Reply | undefined;
    try {
      reply = await options.handle(exchange);
    } catch (error) {
      options.failed(error);
      reply = refuse(500, "the proxy failed on this request");
    }
    // The client has left, or the connection became a tunnel.
    if (this.#exchange !== exchange) {
      reply?.passed?.body?.cancel();
      return;
    }
    if (!reply) return;
    this.#sinceMs = performance.now();
    this.#writer = new ReplyWriter(this, exchange, reply, this.#mayGoOn(exchange));
    this.#writer.begin();
  }

  /** Whether another request may follow on this connection. */
  #mayGoOn(exchange: Http1Exchange): boolean {
    const most = this.site.options.requestsMax();
    return exchange.keepAlive && !this.site.draining && (most === 0 || this.#served < most);
  }

  /** The answer was written, as far as the kernel took it. */
  answered(goOn: boolean): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    this.#exchange = undefined;
    this.#writer = undefined;
    const unread = exchange.body !== undefined && !exchange.body.finish();
    if (!goOn || unread) return this.#leave(unread);
    this.#state = "idle";
    this.#sinceMs = performance.now();
    this.unpause();
    if (this.#finished) return this.shut();
    if (this.#input) this.#read();
  }

  /** The answer can't be completed: the client must see that. */
  broken(): void {
    this.cut();
  }

  /** Closes, reading on for a moment where the client still sends: else its own data would reset the answer away. */
  #leave(unread: boolean): void {
    if (!unread || this.#finished) return this.shut();
    this.#state = "linger";
    this.#sinceMs = performance.now();
    this.#input = undefined;
    this.transport.shutdown();
    this.unpause();
  }

  /** A client that knew beforehand that we speak HTTP/2 (RFC 9113 3.3). */
  #becomeHttp2(input: Buffer): void {
    const { site } = this;
    this.#state = "closed";
    this.#input = undefined;
    const next = acceptHttp2(this.transport, this.peer, site, this.handOver, false);
    site.connections.delete(this);
    site.connections.add(next);
    site.sweeper.delete(this);
    site.sweeper.add(next);
    next.data(input as Buffer<ArrayBuffer>);
  }

  /** An answer to something that is no request; the connection ends with it. */
  #refuse(status: number, why: string): false {
    const { options } = this.site;
    options.log("debug", "client", `${status} to ${this.peer}: ${why}`);
    const { content, fields } = refuse(status, why);
    this.out.text(`HTTP/1.1 ${status} ${String(content).slice(4).split(":")[0]}\r\n`);
    for (const [name, value] of fields) this.out.text(`${name}: ${value}\r\n`);
    this.out.text(`Content-Length: ${String(content).length}\r\nConnection: close\r\n\r\n${content}`);
    this.out.flush();
    this.#leave(true);
    return false;
  }

  /** Becomes a tunnel to an upstream: HTTP has no part in it any more. */
  tunnel(exchange: Http1Exchange, answer: Answer, edits: HeaderEdits, fields: readonly FieldLine[]): void {
    const writer = new ReplyWriter(this, exchange, { passed: answer, status: 101, edits, fields: [...fields] }, true);
    writer.switchHead();
    this.#exchange = undefined;
    const early = this.#input;
    this.#input = undefined;
    // The listener's own count of connections still holds it until the tunnel ends.
    this.#state = "busy";
    this.site.sweeper.delete(this);
    splice({
      client: { transport: this.transport, out: this.out, listen: this.handOver, early },
      upstream: answer.tunnel!,
      silenceMs: exchange.route!.timeouts.streamMs,
      sweeper: this.site.sweeper,
      ended: (bytesOut, cut) => {
        this.#state = "closed";
        this.site.gone(this);
        exchange.member!.endpoint.inFlight--;
        this.site.options.ended(exchange, { status: 101, bytesOut, cut });
      },
    });
    exchange.member!.endpoint.inFlight++;
    this.unpause();
  }
}

/** What the preface of HTTP/2 looks like to a reader of HTTP/1.1 (RFC 9113 3.4). */
function isPreface(input: Buffer): boolean {
  return isAt(input, 0, "PRI * HTTP/2.0\r\n\r\n");
}
