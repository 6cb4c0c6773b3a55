/**
 * Exchange: one request and its answer in progress; transport-neutral, opened by every listener engine.
 * Reply: what the client is to get, plain data, which every listener engine knows how to write.
 * Answer: what an upstream sent.
 */
import type { Body, FieldLine } from "./body.ts";
import type { Failure } from "./failure.ts";
import type { HeaderEdits } from "./headers/edits.ts";
import type { Ending } from "./plane.ts";
import type { SocketEvents } from "./wire/dial.ts";
import type { Output } from "./wire/output.ts";
import type { Transport } from "./wire/transport.ts";
import type { Route } from "./routing/table.ts";
import type { Secured } from "./tls/secured.ts";
import type { Member } from "./upstream/pool.ts";

export type HttpVersion = "HTTP/1.0" | "HTTP/1.1" | "HTTP/2.0" | "HTTP/3.0";

/** Called with each field line; names in whatever case the sender or engine left them. */
export type FieldVisitor = (name: string, value: string) => void;

/** Something that goes on upstream for one client. */
export interface Underway {
  /** The client has left: there is nobody to wait for any more. */
  clientGone(): void;
}

export abstract class Exchange {
  // What the engine knows.
  abstract readonly method: string;
  /** Origin-form target: path and query as they came (the `bun` engine: normalised by its parser). */
  abstract readonly target: string;
  abstract readonly version: HttpVersion;
  /** the client's connection is TLS */
  abstract readonly secure: boolean;
  /** IP of the connected peer, normalised; "" on a unix socket */
  abstract readonly peer: string;
  /** local port of the listener, for X-Forwarded-Port when Host names none */
  abstract readonly localPort: number;
  /** the Host field or `:authority` as sent; undefined when absent */
  abstract readonly authority: string | undefined;
  abstract readonly body: Body | undefined;
  /** @param name lower case. Several lines are joined by ", " (Cookie by "; "). */
  abstract field(name: string): string | undefined;
  abstract eachField(visit: FieldVisitor): void;
  /** Calls `act` once if the client leaves before its answer is written; at once if it has left. */
  abstract onClientGone(act: () => void): void;
  /**
   * Gives the client its reply; called once, whenever it is there. undefined: the connection became a WebSocket or a tunnel,
   * and there is none.
   */
  abstract reply(reply: Reply | undefined): void;
  /** A fault of ours, instead of a reply: it is reported, and the client gets 500. */
  abstract fault(error: unknown): void;
  /** The engine can turn this connection into a WebSocket. */
  abstract acceptWebSocket?(accept: WebSocketAccept): boolean;

  /** The engine can splice this connection to an upstream's after a 101 (RFC 9110 7.8). */
  acceptTunnel?(answer: Answer, edits: HeaderEdits, fields: readonly FieldLine[]): void;
  /** The engine can pass an interim answer (1xx) on. */
  interim?(answer: Answer): void;
  /** the protocols that the request asks for on this connection and that this engine can offer; undefined = none */
  get upgrade(): string | undefined {
    return undefined;
  }

  /** the client's TLS connection, where the engine knows it */
  get secured(): Secured | undefined {
    return undefined;
  }

  #attended = false;
  /** see {@link attend} */
  protected underway: Underway | undefined;

  /** Says what waits for an upstream on behalf of this client, or (undefined) that nothing does any more. */
  attend(underway: Underway | undefined): void {
    this.underway = underway;
    if (!underway || this.#attended) return;
    this.#attended = true;
    this.onClientGone(() => this.underway?.clientGone());
  }

  // What the pipeline learns.
  readonly startedMs = performance.now();
  /** X-Request-Id: passed from the client or made */
  id = "";
  /** the client's IP after `trusted_proxies` */
  client = "";
  /** peer is one of `trusted_proxies`: its X-Forwarded-* count */
  trusted = false;
  /** host without port and final dot, lower case; "" when absent */
  host = "";
  /** port named in Host, or "" */
  hostPort = "";
  /** decoded, dot-resolved, slash-collapsed path: for matching only */
  path = "/";
  route: Route | undefined;
  /** the member tried last */
  member: Member | undefined;
  /** members tried */
  tries = 0;
  failure: Failure | undefined;
  /** until the head of the upstream's answer; undefined without one */
  upstreamMs: number | undefined;
  /** when it was handed to a forwarder, and when it was over, by performance.now(); 0 = not yet */
  sentMs = 0;
  endedMs = 0;
  /** bytes of the request body read so far */
  get bytesIn(): number {
    return 0;
  }
  /** name of the guard or check that answered instead of the upstream; "" = none */
  deniedBy = "";
  /** who was authenticated, by the name that the log may show; "" = nobody was asked */
  user = "";
  /** guards that want to know how it ends; undefined where no route has one */
  watchers: ExchangeWatcher[] | undefined;
}

/** Is told once when an exchange is over: its answer, WebSocket or tunnel has ended, or was cut. */
export interface ExchangeWatcher {
  over(exchange: Exchange, ending: Ending): void;
}

/** A WebSocket whose upstream side stands; the listener engine calls these. */
export interface WebSocketAccept {
  /** the subprotocol the upstream chose, or undefined */
  readonly protocol: string | undefined;
  /** further fields for the 101, for example Set-Cookie */
  readonly fields: readonly FieldLine[];
  /** the client side is open; `client` is how to speak to it */
  opened(client: WebSocketPeer): void;
  /** a whole message from the client */
  message(data: string | Uint8Array<ArrayBuffer>): void;
  ping(data: Uint8Array): void;
  /** bytes queued towards the client have drained */
  drained(): void;
  /** the client closed; 1005/1006 when it sent no code or none at all */
  closed(code: number, reason: string): void;
}

export interface WebSocketPeer {
  /** @returns false when bytes are queued beyond the high-water mark: pause the other side until `drained` */
  send(data: string | Uint8Array<ArrayBuffer>): boolean;
  ping(data: Uint8Array<ArrayBuffer>): void;
  close(code: number, reason: string): void;
  /** cut at once */
  terminate(): void;
}

/** The head and body of an upstream's answer. */
export interface Answer {
  readonly status: number;
  readonly reason: string;
  /** @param name lower case */
  field(name: string): string | undefined;
  eachField(visit: FieldVisitor): void;
  readonly body: Body | undefined;
  /** an accepted upgrade: the upstream's connection */
  readonly tunnel?: Tunnel | undefined;
}

/** An upgrade that the upstream accepted: its connection carries bytes of another protocol now. */
export interface Tunnel {
  readonly transport: Transport;
  readonly out: Output;
  /** bytes that came with the 101 */
  readonly early: Buffer | undefined;
  /** puts the tunnel's ears in place */
  listen(events: SocketEvents): void;
}

/** What a client is to get. */
export type Reply = OwnReply | PassedReply;

/** An answer of our own: an error, a redirect, a file. */
export interface OwnReply {
  readonly status: number;
  readonly fields: FieldLine[];
  /** text, bytes, a file (slice) or nothing */
  readonly content: string | Uint8Array<ArrayBuffer> | Blob | undefined;
  /** why, for the log line; "" for files */
  readonly why: string;
  readonly passed?: undefined;
}

/** An upstream's answer, to be copied through with edits. */
export interface PassedReply {
  readonly passed: Answer;
  readonly status: number;
  readonly edits: HeaderEdits;
  /** lines of this answer only: the sticky cookie */
  readonly fields: readonly FieldLine[];
}
