/** One HTTP/1.1 connection to an upstream: sends a request at a time and reads its answer, strictly. */
import { answerHeadBytesMax, fieldLinesMax, interimAnswersMax } from "../../lib/limits.ts";
import { trailerLines } from "../../lib/fields.ts";
import type { Swept } from "../../lib/sweeper.ts";
import type { Body } from "../body.ts";
import type { Answer, FieldVisitor, Tunnel } from "../exchange.ts";
import { Failure } from "../failure.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { Output } from "../wire/output.ts";
import { findHeadEnd, hasBareLineFeed } from "../wire/head-bytes.ts";
import { parseResponseHead, ResponseHead } from "../wire/response-head-bytes.ts";
import type { Transport } from "../wire/transport.ts";
import { writeRequestHead } from "./request-writer.ts";
import { AnswerBody } from "./answer-body.ts";
import type { Attempt } from "./forwarder.ts";

/** What a connection tells the pool it belongs to. */
export interface ConnectionOwner {
  /** it can take another request */
  idle(connection: UpstreamConnection): void;
  gone(connection: UpstreamConnection): void;
}

const limits = { headBytesMax: answerHeadBytesMax, linesMax: fieldLinesMax };

export class UpstreamConnection implements SocketEvents, Swept {
  readonly out: Output;
  idleSinceMs = 0;
  /** an upstream's `Keep-Alive: timeout=`, in ms; Infinity without */
  keepAliveMs = Infinity;
  closed = false;
  #input: Buffer | undefined;
  #at = 0;
  #scanned = 0;
  #head = new ResponseHead();
  #call: Call | undefined;
  #body: AnswerBody | undefined;
  #heardSome = false;
  /** the peer sends no more: this connection is not for another exchange */
  #peerFinished = false;

  constructor(
    readonly name: string,
    readonly transport: Transport,
    readonly owner: ConnectionOwner,
    readonly loopMark: string,
    /** replaces who hears the socket's events */
    readonly handOver: (events: SocketEvents) => void,
  ) {
    this.out = new Output(transport);
  }

  /** Sends a request. @throws Failure; the connection is then closed */
  exchange(attempt: Attempt): Promise<Answer> {
    this.#heardSome = false;
    return new Promise((resolve, reject) => {
      const call = (this.#call = new Call(this, attempt, resolve, reject));
      attempt.exchange.onClientGone(() => this.abandon(call, new Failure("client_gone", "the client left")));
      // The client may have left already.
      if (this.#call === call) call.send();
    });
  }

  /** The exchange is over before its time: the connection is in no state for another one. */
  abandon(call: Call, failure: Failure): void {
    if (this.#call !== call) return;
    this.fail(failure);
  }

  fail(failure: Failure): void {
    const call = this.#call;
    const body = this.#body;
    this.#call = undefined;
    this.#body = undefined;
    this.shut();
    body?.fail(failure);
    call?.fail(failure);
  }

  shut(): void {
    if (this.closed) return;
    this.closed = true;
    this.transport.terminate();
    this.owner.gone(this);
  }

  sweep(nowMs: number): void {
    this.#call?.sweep(nowMs);
    this.#body?.sweep(nowMs);
  }

  /** the answer of the exchange under way has begun */
  get heardSome(): boolean {
    return this.#heardSome;
  }

  // Events of the socket.

  data(chunk: Buffer): void {
    if (!this.#call) return this.shut();
    this.#heardSome = true;
    this.#call.heardMs = performance.now();
    if (this.#input) chunk = Buffer.concat([this.#input.subarray(this.#at), chunk]);
    else this.#scanned = 0;
    if (this.#input) this.#scanned = Math.max(0, this.#scanned - this.#at);
    this.#input = chunk;
    this.#at = 0;
    if (this.#body) this.#body.feed();
    else this.#readHeads();
  }

  drain(): void {
    if (this.out.drain()) this.#call?.resumeUpload();
  }

  end(): void {
    this.#ended(undefined);
  }

  close(error: Error | undefined): void {
    this.#ended(error);
  }

  #ended(error: Error | undefined): void {
    if (this.closed) return;
    this.#peerFinished = true;
    if (this.#body?.endsWithConnection(error)) return;
    const how = error ? "reset the connection" : "closed the connection";
    if (this.#body) this.fail(new Failure("body_cut", `the answer of ${this.name} was cut: it ${how}`));
    else if (!this.#call) this.shut();
    else if (this.#input) this.fail(new Failure("early_reset", `${this.name} ${how} inside the head of its answer`));
    else this.fail(new Failure("early_reset", `${this.name} ${how} before it answered`));
  }

  #readHeads(): void {
    for (let interim = 0; ;) {
      const input = this.#input!;
      const end = findHeadEnd(input, this.#at + Math.max(0, this.#scanned));
      if (end < 0) {
        if (hasBareLineFeed(input, this.#at + Math.max(0, this.#scanned - 1), input.length))
          return this.fail(new Failure("bad_answer", `${this.name}: a bare LF in the head of its answer`));
        this.#scanned = Math.max(0, input.length - this.#at - 3);
        if (input.length - this.#at > answerHeadBytesMax)
          this.fail(
            new Failure("bad_answer", `the head of ${this.name}'s answer is longer than ${answerHeadBytesMax} bytes`),
          );
        return;
      }
      const head = this.#head;
      if (parseResponseHead(head, input, this.#at, end, limits) !== 0)
        return this.fail(new Failure("bad_answer", `${this.name}: ${head.reason}`));
      this.#at = end;
      this.#scanned = 0;
      const call = this.#call!;
      if (head.status === 101) return this.#switch(call, head);
      if (head.status >= 200) return this.#answered(call, head);
      if (++interim > interimAnswersMax)
        return this.fail(new Failure("bad_answer", `${this.name} sent more than ${interimAnswersMax} interim answers`));
      call.attempt.exchange.interim?.(new SocketAnswer(head, undefined));
      if (this.#at === input.length) {
        this.#input = undefined;
        return;
      }
    }
  }

  #answered(call: Call, head: ResponseHead): void {
    const kind = head.bodyKind(call.attempt.exchange.method);
    if (kind === "none") {
      // The head goes with its answer; this connection may be in use again before it is written.
      this.#head = new ResponseHead();
      this.#finish(call, head);
      call.resolve(new SocketAnswer(head, undefined));
      return;
    }
    const { timeouts } = call.attempt.route;
    const streaming = head.field("content-type")?.toLowerCase().startsWith("text/event-stream") ?? false;
    const body = (this.#body = new AnswerBody(
      this,
      kind,
      kind === "length" ? head.contentLength : -1,
      streaming ? timeouts.streamMs : timeouts.idleMs,
      () => this.#finish(call, head),
    ));
    call.resolve(new SocketAnswer(head, body));
  }

  /** The answer was read to its end: back to the pool, if both sides may go on and nothing is left over. */
  #finish(call: Call, head: ResponseHead): void {
    this.#body = undefined;
    this.#call = undefined;
    const surplus = this.#input !== undefined && this.#at < this.#input.length;
    this.#input = undefined;
    this.#at = 0;
    call.over();
    if (!head.keepAlive || this.#peerFinished || surplus || !call.sent || this.out.queuedBytes > 0 || this.closed)
      return this.shut();
    if (head.keepAliveTimeout > 0) this.keepAliveMs = head.keepAliveTimeout * 1000;
    this.owner.idle(this);
  }

  #switch(call: Call, head: ResponseHead): void {
    const { exchange } = call.attempt;
    const offered = exchange.upgrade;
    const taken = head.field("upgrade");
    if (
      !exchange.acceptTunnel ||
      !head.upgrade ||
      offered === undefined ||
      taken === undefined ||
      !offersProtocol(offered, taken)
    ) {
      return this.fail(new Failure("bad_answer", `${this.name} switched to "${taken ?? ""}", which nobody asked for`));
    }
    const early = this.#at < this.#input!.length ? this.#input!.subarray(this.#at) : undefined;
    this.#call = undefined;
    call.over();
    call.resolve(
      new SocketAnswer(head, undefined, {
        transport: this.transport,
        out: this.out,
        early,
        listen: (events) => this.handOver(new Lent(events, () => this.#returned())),
      }),
    );
  }

  /** The tunnel has ended: until now it counted as a connection of the pool. */
  #returned(): void {
    if (this.closed) return;
    this.closed = true;
    this.owner.gone(this);
  }

  // Used by the body.

  /** @internal unread bytes of the input */
  get input(): Buffer | undefined {
    return this.#input;
  }
  /** @internal */
  get at(): number {
    return this.#at;
  }
  /** @internal @param length of the input when it was read: whoever got the bytes may have given their memory back */
  consumed(to: number, length: number): void {
    this.#at = to;
    if (to === length) {
      this.#input = undefined;
      this.#at = 0;
    }
  }
}

/** RFC 9110 7.8: the protocol switched to must be one that was offered. */
function offersProtocol(offered: string, taken: string): boolean {
  return offered.split(",").some((token) => token.trim().toLowerCase() === taken.trim().toLowerCase());
}

/** The ears of a tunnel, and one who waits for its end. */
class Lent implements SocketEvents {
  constructor(
    readonly events: SocketEvents,
    readonly ended: () => void,
  ) {}

  data(chunk: Buffer<ArrayBuffer>): void {
    this.events.data(chunk);
  }

  drain(): void {
    this.events.drain();
  }

  end(): void {
    this.events.end();
  }

  close(error: Error | undefined): void {
    this.ended();
    this.events.close(error);
  }
}

/** One request on its way and the wait for its answer. */
class Call {
  /** the request was sent to its end */
  sent = false;
  heardMs = performance.now();
  #sentMs = 0;
  /** composing the head: it waits for the first bytes of the body */
  #sending = true;
  #upload: Body | undefined;
  #settled = false;

  constructor(
    readonly connection: UpstreamConnection,
    readonly attempt: Attempt,
    private readonly onAnswer: (answer: Answer) => void,
    private readonly onFailure: (failure: Failure) => void,
  ) {}

  send(): void {
    const { out } = this.connection;
    const { body } = this.attempt;
    writeRequestHead(out, this.attempt, this.connection.loopMark);
    if (!body) {
      this.#done();
      out.flush();
      return;
    }
    const chunked = body.length < 0;
    this.#upload = body;
    body.start({
      write: (chunk) => {
        this.heardMs = performance.now();
        if (chunk.length === 0) return true;
        if (chunked) out.text(`${chunk.length.toString(16)}\r\n`);
        out.chunk(chunk);
        if (chunked) out.text("\r\n");
        // Within `send` the head waits for the first bytes of the body.
        return this.#sending ? out.queuedBytes === 0 : out.flush();
      },
      end: (trailers) => {
        if (chunked) out.text(`0\r\n${trailerLines(trailers, this.attempt.route.requestEdits.drop)}\r\n`);
        this.#done();
        if (!this.#sending) out.flush();
      },
      fail: (failure) => this.connection.abandon(this, failure),
    });
    this.#sending = false;
    out.flush();
  }

  resumeUpload(): void {
    this.heardMs = performance.now();
    if (!this.sent) this.#upload?.resume();
  }

  resolve(answer: Answer): void {
    if (this.#settled) return;
    this.#settled = true;
    this.onAnswer(answer);
  }

  fail(failure: Failure): void {
    this.over();
    if (this.#settled) return;
    this.#settled = true;
    this.onFailure(failure);
  }

  /** No more of the request is wanted. */
  over(): void {
    if (!this.sent) this.#upload?.cancel();
    this.#upload = undefined;
  }

  sweep(nowMs: number): void {
    if (this.#settled) return;
    const { firstByteMs, idleMs } = this.attempt.route.timeouts;
    const { name } = this.connection;
    if (this.sent && this.connection.out.queuedBytes === 0) {
      if (firstByteMs > 0 && nowMs - Math.max(this.#sentMs, 0) > firstByteMs) {
        this.connection.abandon(
          this,
          new Failure("first_byte_timeout", `${name} did not answer within ${firstByteMs / 1000} s`),
        );
      }
    } else if (idleMs > 0 && this.connection.out.queuedBytes > 0 && nowMs - this.heardMs > idleMs) {
      this.connection.abandon(
        this,
        new Failure("first_byte_timeout", `${name} took nothing of the request for ${idleMs / 1000} s`),
      );
    }
  }

  #done(): void {
    this.sent = true;
    this.#sentMs = performance.now();
  }
}

export class SocketAnswer implements Answer {
  readonly status: number;

  constructor(
    readonly head: ResponseHead,
    readonly body: Body | undefined,
    readonly tunnel?: Tunnel,
  ) {
    this.status = head.status;
  }

  get reason(): string {
    return this.head.bytes.toString("latin1", this.head.reasonStart, this.head.reasonEnd);
  }

  field(name: string): string | undefined {
    return this.head.field(name);
  }

  eachField(visit: FieldVisitor): void {
    this.head.each(visit);
  }
}
