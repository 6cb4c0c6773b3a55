/**
 * One client connection in HTTP/1.1 (RFC 9112): requests are read strictly, one exchange at a time; what follows on the
 * connection waits. No timer, promise or closure of its own for a plain request: timeouts are swept.
 */
import {
  drainHeadMs,
  drainIdleMs,
  fieldLinesMax,
  halfClosedMs,
  lingerBytesMax,
  lingerMs,
  pipelinedBytesMax,
  pipelinedPerTurnMax,
  spareHeadsMax,
} from "../../lib/limits.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import type { Swept } from "../../lib/sweeper.ts";
import type { FieldLine } from "../body.ts";
import type { Answer, Reply } from "../exchange.ts";
import type { SaidOfClient } from "../forward/request-writer.ts";
import { refuse } from "../guards/guard.ts";
import type { HeaderEdits } from "../headers/edits.ts";
import type { Secured } from "../tls/secured.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { findHeadEnd, hasBareLineFeed, isAt } from "../wire/head-bytes.ts";
import { kindOfBadRequest } from "../observe/refusals.ts";
import { Output } from "../wire/output.ts";
import { parseRequestHead, RequestHead, statusOfOverlong, type RequestLimits } from "../wire/request-head.ts";
import type { Transport } from "../wire/transport.ts";
import { Http1Exchange } from "./http1-exchange.ts";
import { acceptHttp2 } from "./http2.ts";
import { ReplyWriter } from "./reply-writer.ts";
import type { Site } from "./socket.ts";
import { splice } from "./splice.ts";

/** Heads to read into: an idle connection needs none. One goes back only when its exchange was answered in order. */
const heads: RequestHead[] = [];
/** what an exchange holds when it is over */
const spentHead = new RequestHead();

let limits: RequestLimits = { targetBytesMax: 0, headBytesMax: 0, linesMax: fieldLinesMax };

/** One object for all connections: the bound is the same for all listeners of a process. */
function limitsOf(headBytesMax: number): RequestLimits {
  if (limits.headBytesMax !== headBytesMax)
    limits = { targetBytesMax: headBytesMax, headBytesMax, linesMax: fieldLinesMax };
  return limits;
}

function takeHead(): RequestHead {
  return heads.pop() ?? new RequestHead();
}

function giveHead(head: RequestHead): void {
  if (heads.length < spareHeadsMax && head.lines.length <= 4 * 64) heads.push(head);
}

export class Http1Connection implements SocketEvents, Swept {
  readonly serial = newSerial();
  readonly out: Output;
  #input: Buffer | undefined;
  #scanned = 0;
  #head: RequestHead | undefined;
  readonly #limits: RequestLimits;
  /** kept by the request writer */
  saidOfClient: SaidOfClient | undefined;
  #exchange: Http1Exchange | undefined;
  #writer: ReplyWriter | undefined;
  #served = 0;
  /** of the request before */
  #host = "";
  /** when what the state waits for began, or last moved */
  #sinceMs: number;
  #state: "idle" | "head" | "busy" | "linger" | "closed" = "idle";
  #paused = false;
  #processing = false;
  /** requests begun in this turn of the loop */
  #inTurn = 0;
  /** what follows is read in the next turn */
  #yielding = false;
  #lingered = 0;
  /** the client sent FIN: it may still read */
  #finished = false;
  #finishedMs = 0;
  /** when a head must be there, since the listener drains */
  #headUntilMs = Number.POSITIVE_INFINITY;

  constructor(
    readonly transport: Transport,
    readonly peer: string,
    readonly site: Site,
    readonly handOver: (events: SocketEvents) => void,
    /** over TLS */
    readonly secured?: Secured,
  ) {
    this.out = new Output(transport);
    this.#sinceMs = site.sweeper.dueMs || performance.now();
    this.#limits = limitsOf(site.options.headBytesMax);
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
      this.#holdBack();
      return;
    }
    if (this.#yielding) return this.#holdBack();
    this.#inTurn = 0;
    this.#read();
  }

  drain(): void {
    this.#sinceMs = performance.now();
    if (!this.out.drain()) return;
    if (this.#state !== "linger") this.#writer?.drained();
    else if (this.#finished) this.shut();
    else this.transport.shutdown();
  }

  end(): void {
    this.#finished = true;
    // A half-closed client still wants its answer (bun-facts 7), but looks just like one that has left: it gets a while.
    // One that is between requests is done.
    this.#finishedMs = performance.now();
    if (this.#state === "busy") this.#exchange?.body?.ended();
    // What the kernel has not taken yet goes first: `drain` ends it.
    else if (!this.#yielding && this.out.queuedBytes === 0) this.shut();
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
      if (nowMs > this.#headUntilMs || (idleSeconds > 0 && silentMs > idleSeconds * 1000)) this.shut();
    } else if (this.#state === "head") {
      if (nowMs > this.#headUntilMs) this.#refuse(503, "the proxy is shutting down");
      else if (headerMs > 0 && silentMs > headerMs) this.#refuse(408, "the request head did not arrive in time");
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
    this.#sinceMs = this.site.sweeper.dueMs;
  }

  /**
   * Draining: a busy connection ends after its answer, one that is sending a head gets a moment for it. An idle one gets
   * a moment too: the client may have sent a request that has not come yet, and a closed port would look like a failure.
   */
  drainNow(): void {
    this.#headUntilMs = performance.now() + (this.#state === "idle" ? drainIdleMs : drainHeadMs);
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

  /** Unless enough lies here: each answer would let another read of half a megabyte in. */
  unpause(): void {
    if (this.#input === undefined || this.#input.length <= pipelinedBytesMax) this.#flow();
  }

  #flow(): void {
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
    while (this.#input && !this.#yielding && (this.#state === "idle" || this.#state === "head"))
      if (!this.#readHead(this.#input)) break;
    this.#processing = false;
    // A client that has sent all it wants is done behind its last request.
    if (this.#finished && !this.#yielding && (this.#state === "idle" || this.#state === "head")) this.shut();
  }

  /** @returns false when more bytes are needed */
  #readHead(input: Buffer): boolean {
    const { headBytesMax } = this.site.options;
    const end = findHeadEnd(input, this.#scanned);
    if (end < 0) {
      if (this.#state === "idle") {
        this.#state = "head";
        this.#sinceMs = performance.now();
        if (this.#headUntilMs !== Infinity) this.#headUntilMs = this.#sinceMs + drainHeadMs;
      }
      if (hasBareLineFeed(input, Math.max(0, this.#scanned - 1), input.length))
        return this.#refuse(400, "the request holds a bare line feed");
      this.#scanned = Math.max(0, input.length - 3);
      if (input.length > headBytesMax) {
        const status = statusOfOverlong(input, 0, this.#limits);
        return this.#refuse(status, status === 414 ? "the target is too long" : "the request head is too long");
      }
      this.#flow();
      return false;
    }
    const head = (this.#head ??= takeHead());
    const status = parseRequestHead(head, input, 0, end, this.#limits);
    if (status === 505 && this.#served === 0 && !this.secured && this.site.options.http2 && isPreface(input))
      return this.#becomeHttp2(input);
    if (status !== 0) return this.#refuse(status, head.reason);
    this.consumed(end, input.length);
    this.#scanned = 0;
    this.#state = "busy";
    this.#served++;
    this.#inTurn++;
    const exchange = (this.#exchange = new Http1Exchange(this, head));
    try {
      this.site.options.handle(exchange);
    } catch (error) {
      exchange.fault(error);
    }
    return true;
  }

  /** Answers the exchange; undefined when this connection became a tunnel. */
  reply(exchange: Http1Exchange, reply: Reply | undefined): void {
    // The client has left, or our own fault came behind the answer.
    if (this.#exchange !== exchange || this.#writer) return void reply?.passed?.body?.cancel();
    if (!reply) return;
    this.moved();
    this.#writer = new ReplyWriter(this, exchange, reply, this.#mayGoOn(exchange));
    try {
      this.#writer.begin();
    } catch (error) {
      this.site.options.failed(error);
      this.cut();
    }
  }

  /** bytes[start, end) of the head as text: nearly always the Host of the request before. */
  hostText(start: number, end: number): string {
    const { bytes } = this.#head!;
    const { length } = this.#host;
    if (end - start === length) {
      let i = 0;
      while (i < length && bytes[start + i] === this.#host.charCodeAt(i)) i++;
      if (i === length) return this.#host;
    }
    return (this.#host = bytes.toString("latin1", start, end));
  }

  /** Whether another request may follow on this connection. */
  #mayGoOn(exchange: Http1Exchange): boolean {
    const most = this.site.options.requestsMax();
    // A body that was never asked for may come nevertheless, or not: the connection cannot be read on.
    if (exchange.body?.expectsContinue) return false;
    return exchange.keepAlive && !this.site.draining && (most === 0 || this.#served < most);
  }

  /** The answer was written, as far as the kernel took it. */
  answered(goOn: boolean): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    this.#exchange = undefined;
    this.#writer = undefined;
    const unread = exchange.body !== undefined && !exchange.body.finish();
    exchange.head = spentHead;
    giveHead(this.#head!);
    this.#head = undefined;
    if (!goOn || unread) return this.#leave(unread);
    this.#state = "idle";
    this.moved();
    this.unpause();
    if (this.#inTurn < pipelinedPerTurnMax) return this.#read();
    // Thousands of requests may lie here, answered one upon the other: other clients would wait for all of them.
    this.#yielding = true;
    setImmediate(() => {
      this.#yielding = false;
      this.#inTurn = 0;
      if (this.#state === "closed") return;
      this.unpause();
      this.#read();
    });
  }

  #holdBack(): void {
    if (this.#input && this.#input.length > pipelinedBytesMax) this.pause();
  }

  /** The answer can't be completed: the client must see that. */
  broken(): void {
    this.cut();
  }

  /** Closes, reading on for a moment where the client still sends: else its own data would reset the answer away. */
  #leave(unread: boolean): void {
    const queued = this.out.queuedBytes > 0;
    if (!queued && (!unread || this.#finished)) return this.shut();
    this.#state = "linger";
    this.#sinceMs = performance.now();
    this.#input = undefined;
    // `shutdown` would forget what the kernel has not taken.
    if (!queued) this.transport.shutdown();
    this.unpause();
  }

  /** A client that knew beforehand that we speak HTTP/2 (RFC 9113 3.3). */
  #becomeHttp2(input: Buffer): false {
    const { site } = this;
    this.#state = "closed";
    this.#input = undefined;
    giveHead(this.#head!);
    this.#head = undefined;
    const next = acceptHttp2(this.transport, this.peer, site, this.handOver);
    // One takes the place of the other: the listener's count stays.
    site.connections.delete(this);
    site.connections.add(next);
    site.sweeper.delete(this);
    site.sweeper.add(next);
    next.data(input as Buffer<ArrayBuffer>);
    return false;
  }

  /** An answer to something that is no request; the connection ends with it. */
  #refuse(status: number, why: string): false {
    const { options, refusals } = this.site;
    refusals.count(kindOfBadRequest(status, why));
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
