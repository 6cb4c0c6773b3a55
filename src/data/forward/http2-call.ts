/** One request on a stream of an upstream's HTTP/2 connection, and the wait for its answer. */
import { interimAnswersMax } from "../../lib/limits.ts";
import { passableTrailers } from "../../lib/fields.ts";
import type { Body, BodySink, FieldLine } from "../body.ts";
import type { Underway } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { isGrpc } from "../grpc.ts";
import type { FieldList } from "../wire/http2/field-list.ts";
import { IncomingBody } from "../wire/http2/incoming-body.ts";
import { CANCEL, errorName, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM } from "../wire/http2/protocol.ts";
import { readResponse } from "../wire/http2/response-fields.ts";
import type { Stream, StreamUser } from "../wire/http2/stream.ts";
import type { ResponseHead } from "../wire/response-head-bytes.ts";
import type { Attempt } from "./forwarder.ts";
import { encodeRequest } from "./http2-request.ts";
import { SocketAnswer } from "./upstream-connection.ts";

export interface CallOwner {
  /** The attempt is to hear it, or to be repeated. */
  failed(attempt: Attempt, failure: Failure): void;
}

export class Http2Call implements StreamUser, BodySink, Underway {
  #upload: Body | undefined;
  #body: IncomingBody | undefined;
  /** all of the request */
  #sent = false;
  /** first seen as such by a sweep; 0 = not yet */
  #sentMs = 0;
  #interim = 0;
  /** of the answer's body, at most; 0 = no bound */
  #silenceMs = 0;
  #settled = false;
  #over = false;
  readonly #grpc: boolean;

  constructor(
    readonly name: string,
    readonly stream: Stream,
    readonly attempt: Attempt,
    /** hears that there is no answer */
    private readonly owner: CallOwner,
  ) {
    this.#grpc = isGrpc(attempt.exchange.field("content-type"));
    stream.user = this;
  }

  send(loopMark: string, secure: boolean): void {
    const { attempt, stream } = this;
    const { body } = attempt;
    const encoder = stream.beginHead();
    // The connection ended a moment ago.
    if (!encoder) return this.#fail(new Failure("refused_stream", `${this.name}: the connection is going away`));
    encodeRequest(encoder, attempt, loopMark, secure);
    stream.sendHead(!body);
    attempt.exchange.attend(this);
    if (!body || this.#over) return this.#allSent();
    this.#upload = body;
    body.start(this);
  }

  clientGone(): void {
    if (!this.#settled) this.abandon(new Failure("client_gone", "the client left"));
  }

  // As the sink of the request's body.

  write(chunk: Uint8Array): boolean {
    return this.stream.write(chunk);
  }

  end(trailers?: readonly FieldLine[]): void {
    this.stream.end(trailers && passableTrailers(trailers, this.attempt.route.requestEdits.drop));
    this.#allSent();
  }

  fail(failure: Failure): void {
    this.abandon(failure);
  }

  /** The exchange is over before its time. */
  abandon(failure: Failure): void {
    if (this.#over) return;
    this.stream.reset(CANCEL);
    this.#fail(failure);
  }

  // As the user of its stream.

  answered(list: FieldList, ended: boolean): void {
    const head = readResponse(list);
    if (typeof head === "string") return this.#refuse(head);
    const { exchange } = this.attempt;
    if (head.status < 200) {
      if (ended || head.status === 101) return this.#refuse("an interim answer that cannot be one");
      if (++this.#interim > interimAnswersMax) return this.#refuse("too many interim answers");
      return exchange.interim?.(new SocketAnswer(head, undefined));
    }
    const bodiless = head.bodyKind(exchange.method) === "none" && !(head.contentLength === 0 && !ended);
    if (ended && head.contentLength > 0 && !bodiless) return this.#refuse("less DATA than Content-Length says");
    this.stream.headSeen = true;
    // Without a body DATA may only say that there is none.
    this.stream.lengthDue = bodiless ? 0 : head.contentLength;
    if (!ended && !bodiless) this.#body = new IncomingBody(this.stream, head.contentLength, () => this.#unwanted());
    this.#silenceMs = this.#silenceOf(head);
    this.#settled = true;
    this.attempt.answered(new SocketAnswer(head, this.#body), performance.now());
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#body) this.#body.push(bytes, start, end);
    else this.stream.consumed(end - start);
  }

  ended(trailers: readonly FieldLine[] | undefined): void {
    // The upstream has said all it wants to say: what is left of the request is of no use.
    if (!this.#sent) this.#stopUpload();
    if (!this.stream.closed) this.stream.reset(NO_ERROR);
    this.#over = true;
    this.attempt.exchange.attend(undefined);
    this.#body?.end(trailers);
  }

  gone(code: number, byPeer: boolean, why: string): void {
    if (this.#over) return;
    this.#fail(this.#failureOf(code, byPeer, why));
  }

  writable(): void {
    this.#upload?.resume();
  }

  sweep(nowMs: number): void {
    if (this.#over) return;
    const { firstByteMs, idleMs, streamMs } = this.attempt.route.timeouts;
    if (this.#settled) {
      const body = this.#body;
      if (!body?.wanted || this.#silenceMs === 0 || body.silentMs(nowMs) <= this.#silenceMs) return;
      const seconds = this.#silenceMs / 1000;
      this.abandon(new Failure("body_timeout", `the answer of ${this.name} was silent for ${seconds} s`));
    } else if (this.#sent && !this.stream.queued) {
      if (this.#sentMs === 0) this.#sentMs = nowMs;
      const most = this.#grpc ? streamMs : firstByteMs;
      if (most > 0 && nowMs - this.#sentMs > most)
        this.abandon(new Failure("first_byte_timeout", `${this.name} did not answer within ${most / 1000} s`));
    } else if (idleMs > 0 && this.stream.stuckMs > 0 && nowMs - this.stream.stuckMs > idleMs) {
      const what = `${this.name} took nothing of the request for ${idleMs / 1000} s`;
      this.abandon(new Failure("first_byte_timeout", what));
    }
  }

  #silenceOf(head: ResponseHead): number {
    const { idleMs, streamMs } = this.attempt.route.timeouts;
    const events = head.begins("content-type", "text/event-stream");
    return events || this.#grpc ? streamMs : idleMs;
  }

  #allSent(): void {
    this.#sent = true;
    this.#upload = undefined;
  }

  #stopUpload(): void {
    this.#upload?.cancel();
    this.#upload = undefined;
  }

  /** Nobody reads the answer any more. */
  #unwanted(): void {
    this.abandon(new Failure("client_gone", "the answer is not wanted"));
  }

  #refuse(why: string): void {
    this.stream.connection.refuseStream(this.stream, PROTOCOL_ERROR, why);
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopUpload();
    this.attempt.exchange.attend(undefined);
    const settled = this.#settled;
    this.#settled = true;
    if (settled) this.#body?.fail(failure);
    else this.owner.failed(this.attempt, failure);
  }

  #failureOf(code: number, byPeer: boolean, why: string): Failure {
    const { name } = this;
    if (this.#settled) return new Failure("body_cut", `the answer of ${name} was cut: ${why}`);
    if (byPeer && code === REFUSED_STREAM) return new Failure("refused_stream", `${name} refused the stream: ${why}`);
    if (byPeer) return new Failure("bad_answer", `${name} reset the stream: ${errorName(code)}`);
    // Without a fault of its own a stream only ends with its connection.
    if (code === CANCEL) return new Failure("early_reset", `${name}: ${why}`);
    return new Failure("bad_answer", `${name}: ${why}`);
  }
}
