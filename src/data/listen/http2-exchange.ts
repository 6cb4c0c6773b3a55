/** The exchange that an HTTP/2 connection of ours opens for each request: its head looks like one of HTTP/1.1. */
import { randomBytes } from "node:crypto";
import type { FieldLine } from "../body.ts";
import { Exchange, type Answer, type FieldVisitor, type Reply, type Underway } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { grpcTimeoutMs, isGrpc } from "../grpc.ts";
import { refuse } from "../guards/guard.ts";
import { copyFields, type HeaderEdits } from "../headers/edits.ts";
import type { Secured } from "../tls/secured.ts";
import { IncomingBody } from "../wire/http2/incoming-body.ts";
import { NO_ERROR } from "../wire/http2/protocol.ts";
import { webSocketLines, type RequestFields } from "../wire/http2/request-fields.ts";
import type { Stream, StreamUser } from "../wire/http2/stream.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Http2Reply } from "./http2-reply.ts";
import { StreamTunnel, tunnelOver } from "./http2-tunnel.ts";
import type { Http2Server } from "./http2.ts";

export class Http2Exchange extends Exchange implements StreamUser {
  readonly method: string;
  readonly target: string;
  readonly version = "HTTP/2.0";
  readonly authority: string | undefined;
  readonly head: RequestHead;
  readonly body: IncomingBody | undefined;
  override readonly acceptWebSocket = undefined;
  /** a gRPC call: our own errors are told in its words */
  readonly grpc: boolean;
  /** clock time at which a gRPC call is to be given up; Infinity without */
  readonly deadlineMs: number;
  /** of a WebSocket over HTTP/2 (RFC 8441), as its upstream is asked; "" otherwise */
  readonly webSocketKey: string;
  writer: Http2Reply | undefined;
  /** of a WebSocket over HTTP/2, whether it is accepted or not */
  readonly tunnel: StreamTunnel | undefined;
  /** the client, or its stream, is gone */
  isGone = false;
  #onGone: (() => void)[] | undefined;

  constructor(
    readonly connection: Http2Server,
    readonly stream: Stream,
    fields: RequestFields,
    ended: boolean,
  ) {
    super();
    const webSocket = fields.protocol === "websocket" && !ended;
    this.webSocketKey = webSocket ? randomBytes(16).toString("base64") : "";
    this.method = webSocket ? "GET" : fields.method;
    this.head = fields.head(this.method, webSocket ? webSocketLines(this.webSocketKey) : "");
    if (webSocket) {
      this.head.upgrade = true;
      this.tunnel = new StreamTunnel(stream);
    }
    this.target = fields.target;
    this.authority = fields.authority;
    this.grpc = fields.method === "POST" && isGrpc(this.head.field("content-type"));
    this.deadlineMs = this.grpc ? this.startedMs + grpcTimeoutMs(this.head.field("grpc-timeout")) : Infinity;
    stream.lengthDue = fields.contentLength;
    if (ended || webSocket) return;
    const onStart = fields.expectContinue ? () => this.#continue() : undefined;
    this.body = new IncomingBody(stream, fields.contentLength, () => {}, onStart);
  }

  get secure(): boolean {
    return this.connection.secured !== undefined;
  }

  override get secured(): Secured | undefined {
    return this.connection.secured;
  }

  get peer(): string {
    return this.connection.peer;
  }

  get localPort(): number {
    return this.connection.site.port;
  }

  override get bytesIn(): number {
    return this.body?.received ?? 0;
  }

  override get upgrade(): string | undefined {
    return this.webSocketKey === "" ? undefined : "websocket";
  }

  field(name: string): string | undefined {
    return this.head.field(name);
  }

  eachField(visit: FieldVisitor): void {
    this.head.each(visit);
  }

  onClientGone(act: () => void): void {
    if (this.isGone) act();
    else (this.#onGone ??= []).push(act);
  }

  override attend(underway: Underway | undefined): void {
    this.underway = underway;
    if (underway && this.isGone) underway.clientGone();
  }

  reply(reply: Reply | undefined): void {
    this.connection.reply(this, reply);
  }

  fault(error: unknown): void {
    this.connection.site.options.failed(error);
    this.connection.reply(this, refuse(500, "the proxy failed on this request"));
  }

  override interim(answer: Answer): void {
    // We answer Expect ourselves; 101 does not exist here (RFC 9113 8.6).
    if (answer.status === 100 || answer.status === 101 || this.isGone || this.writer) return;
    const encoder = this.stream.beginHead();
    if (!encoder) return;
    encoder.status(answer.status);
    copyFields(
      answer,
      this.route!.responseEdits,
      (lower) => lower !== "content-length",
      (name, value) => encoder.text(name, value),
    );
    this.stream.sendHead(false);
  }

  override acceptTunnel(answer: Answer, edits: HeaderEdits, fields: readonly FieldLine[]): void {
    tunnelOver(this, this.tunnel!, answer, edits, fields);
  }

  // As the user of its stream.

  data(bytes: Buffer, start: number, end: number): void {
    if (this.tunnel) this.tunnel.data(bytes, start, end);
    else if (this.body) this.body.push(bytes, start, end);
    else this.stream.consumed(end - start);
  }

  ended(trailers: readonly FieldLine[] | undefined): void {
    if (this.tunnel) this.tunnel.ended();
    else this.body?.end(trailers);
  }

  gone(code: number, byPeer: boolean, why: string): void {
    // The client has all of our answer and says that it needs no more.
    if (code === NO_ERROR && byPeer && this.stream.localEnded) return;
    if (this.tunnel?.events) return this.tunnel.gone(why);
    this.leave(new Failure("client_gone", why));
  }

  sent(): void {
    this.writer?.sent();
  }

  writable(): void {
    if (this.tunnel?.events) this.tunnel.writable();
    else this.writer?.writable();
  }

  sweep(nowMs: number): void {
    const { body } = this;
    if (nowMs > this.deadlineMs && !this.isGone && !this.stream.localEnding)
      return this.connection.expire(this, new Failure("deadline_exceeded", "the deadline of the call has passed"));
    const { bodyMs } = this.connection.site.options.timeouts();
    if (!body?.wanted || bodyMs === 0 || body.silentMs(nowMs) <= bodyMs) return;
    body.fail(new Failure("client_timeout", `the request body was silent for ${bodyMs / 1000} s`));
  }

  /** Nobody waits for the answer any more. */
  leave(failure: Failure): void {
    if (this.isGone) return;
    this.isGone = true;
    this.underway?.clientGone();
    for (const act of this.#onGone ?? []) act();
    this.body?.fail(failure);
    this.connection.left(this);
  }

  /** RFC 9110 10.1.1: only now is the body wanted. */
  #continue(): void {
    if (this.body!.received > 0 || this.writer) return;
    const encoder = this.stream.beginHead();
    if (!encoder) return;
    encoder.status(100);
    this.stream.sendHead(false);
  }
}
