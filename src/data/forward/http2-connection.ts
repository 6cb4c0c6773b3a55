/** One HTTP/2 connection to an upstream, as the pool sees it: how much room it has, and who waits for its greeting. */
import { http2StreamWindow } from "../../lib/limits.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import type { Swept } from "../../lib/sweeper.ts";
import type { Failure } from "../failure.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { Http2Connection, type Http2Owner, type Http2Timeouts } from "../wire/http2/connection.ts";
import * as h2 from "../wire/http2/protocol.ts";
import type { OwnSettings } from "../wire/http2/settings.ts";
import type { Transport } from "../wire/transport.ts";
import { answerHeadBytesMax, http2UpstreamFrameBytes, http2UpstreamHeaderMs } from "../../lib/limits.ts";
import type { Attempt } from "./forwarder.ts";
import { Http2Call, type CallOwner } from "./http2-call.ts";

const settings: OwnSettings = [
  [h2.ENABLE_PUSH, 0],
  [h2.INITIAL_WINDOW_SIZE, http2StreamWindow],
  [h2.MAX_FRAME_SIZE, http2UpstreamFrameBytes],
  [h2.MAX_HEADER_LIST_SIZE, answerHeadBytesMax],
];

export interface Http2Pool {
  readonly loopMark: string;
  keepaliveMs(): number;
  /** it has no streams any more */
  idle(connection: Http2Upstream): void;
  /** it takes no new requests any more */
  leaving(connection: Http2Upstream): void;
  gone(connection: Http2Upstream): void;
  /** There is no answer: the attempt is to hear it, or to be repeated. */
  failed(connection: Http2Upstream, attempt: Attempt, failure: Failure): void;
}

export class Http2Upstream implements Http2Owner, CallOwner, SocketEvents, Swept {
  readonly serial = newSerial();
  readonly role = "client";
  readonly listBytesMax = answerHeadBytesMax;
  /** requests sent, ever */
  served = 0;
  /** called once: undefined when the server has greeted us, else why it never will */
  onGreeting: ((why: string | undefined) => void) | undefined;
  readonly #wire: Http2Connection;

  constructor(
    readonly name: string,
    readonly secure: boolean,
    transport: Transport,
    readonly pool: Http2Pool,
  ) {
    this.#wire = new Http2Connection(transport, this, settings);
  }

  get hasRoom(): boolean {
    return this.#wire.greeted && this.#wire.hasRoom;
  }

  /** streams open */
  get active(): number {
    return this.#wire.active;
  }

  /** Sends a request, only where there {@link hasRoom}; the attempt hears what comes of it. */
  exchange(attempt: Attempt): void {
    this.served++;
    new Http2Call(this.name, this.#wire.open(), attempt, this).send(this.pool.loopMark, this.secure);
  }

  failed(attempt: Attempt, failure: Failure): void {
    this.pool.failed(this, attempt, failure);
  }

  /** Ends when its streams have. */
  shutDown(): void {
    this.#wire.shutDown();
  }

  cut(why: string): void {
    this.#wire.cut(why);
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

  close(error: Error | undefined): void {
    this.#wire.close(error);
  }

  sweep(nowMs: number): void {
    this.#wire.sweep(nowMs);
  }

  // As the owner of the connection.

  timeouts(): Http2Timeouts {
    // How long an upstream may take nothing is a matter of each call.
    return { headerMs: http2UpstreamHeaderMs, writeMs: 0, idleMs: this.pool.keepaliveMs() };
  }

  /** Servers only answer. */
  request(): void {}

  settled(): void {
    this.onGreeting?.(undefined);
    this.onGreeting = undefined;
  }

  leaving(): void {
    this.pool.leaving(this);
  }

  idle(): void {
    this.pool.idle(this);
  }

  closed(_code: number, why: string): void {
    this.onGreeting?.(why);
    this.onGreeting = undefined;
    this.pool.gone(this);
  }
}
