/** One HTTP/1.1 connection to an upstream: sends a request at a time and reads its answer, strictly. */
import { answerHeadBytesMax, continueWaitMs, fieldLinesMax, interimAnswersMax } from "../../lib/limits.ts";
import { trailerLines } from "../../lib/fields.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import type { Swept } from "../../lib/sweeper.ts";
import type { Body, BodySink, FieldLine } from "../body.ts";
import type { Answer, FieldVisitor, Tunnel, Underway } from "../exchange.ts";
import { Failure } from "../failure.ts";
import type { Timeouts } from "../routing/table.ts";
import { wireOf, type Member } from "../upstream/pool.ts";
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
  /** The exchange ended without an answer; the connection is closed. The attempt is to hear it, or to be repeated. */
  failed(connection: UpstreamConnection, attempt: Attempt, failure: Failure): void;
}

const limits = { headBytesMax: answerHeadBytesMax, linesMax: fieldLinesMax };

export class UpstreamConnection implements SocketEvents, Swept, Underway {
  readonly serial = newSerial();
  readonly out: Output;
  idleSinceMs = 0;
  /** an upstream's `Keep-Alive: timeout=`, in ms; Infinity without */
  keepAliveMs = Infinity;
  closed = false;
  /** it has carried another exchange before */
  reused = false;
  /** the answer of the exchange under way has begun */
  heardSome = false;
  /** when the peer last took or gave something, by performance.now() */
  heardMs = 0;
  /** @internal unread bytes of the input, from {@link at} on; the body takes from them */
  input: Buffer | undefined;
  /** @internal */
  at = 0;
  #scanned = 0;
  #head = new ResponseHead();
  /** the exchange under way, until its answer is read to the end */
  #attempt: Attempt | undefined;
  /** its final head has not come yet */
  #waiting = false;
  /** interim answers of the exchange under way */
  #interim = 0;
  /** the request was sent to its end */
  #sent = false;
  #sentMs = 0;
  #upload: Upload | undefined;
  /** the body waits for the upstream's 100 */
  #holding = false;
  #answer: SocketAnswer | undefined;
  #body: AnswerBody | undefined;
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

  /** Sends a request; the attempt hears what comes of it. After a failure the connection is closed. */
  exchange(attempt: Attempt, nowMs: number): void {
    this.#attempt = attempt;
    this.#waiting = true;
    this.#interim = 0;
    this.#sent = false;
    this.heardSome = false;
    this.heardMs = nowMs;
    attempt.exchange.attend(this);
    // The client may have left already.
    if (this.#attempt !== attempt) return;
    writeRequestHead(this.out, attempt, this.loopMark);
    if (attempt.body) {
      this.#upload = new Upload(this, attempt.body, attempt.route.requestEdits.drop);
      this.#holding = attempt.body.expectsContinue === true;
      // Its first bytes go with the head.
      if (!this.#holding) this.#upload.begin();
    } else {
      this.#sent = true;
      this.#sentMs = nowMs;
    }
    this.out.flush();
  }

  clientGone(): void {
    if (this.#waiting) this.fail(new Failure("client_gone", "the client left"));
  }

  /** Ends the exchange under way before its time: the connection is in no state for another one. */
  fail(failure: Failure): void {
    const attempt = this.#attempt;
    const waiting = this.#waiting;
    const body = this.#body;
    this.#over();
    this.shut();
    body?.fail(failure);
    if (waiting) this.owner.failed(this, attempt!, failure);
  }

  shut(): void {
    if (this.closed) return;
    this.closed = true;
    this.transport.terminate();
    this.owner.gone(this);
  }

  sweep(nowMs: number): void {
    if (this.#waiting) this.#sweepWaiting(nowMs, this.#attempt!.route.timeouts);
    else this.#body?.sweep(nowMs);
  }

  // Events of the socket.

  data(chunk: Buffer): void {
    if (!this.#attempt) return this.shut();
    this.heardSome = true;
    this.heardMs = performance.now();
    const { input } = this;
    if (input) {
      chunk = Buffer.concat([input.subarray(this.at), chunk]);
      this.#scanned = Math.max(0, this.#scanned - this.at);
    } else this.#scanned = 0;
    this.input = chunk;
    this.at = 0;
    if (this.#body) this.#body.feed();
    else this.#readHeads(chunk);
  }

  drain(): void {
    if (!this.out.drain()) return;
    this.heardMs = performance.now();
    if (!this.#holding) this.#upload?.resume();
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
    else if (!this.#attempt) this.shut();
    else {
      const when = this.input ? "inside the head of its answer" : "before it answered";
      const hint = this.input ? "" : tlsHint(this.#attempt.member, undefined);
      this.fail(new Failure("early_reset", `${this.name} ${how} ${when}${hint}`));
    }
  }

  #sweepWaiting(nowMs: number, { firstByteMs, idleMs }: Timeouts): void {
    if (this.#holding) {
      // RFC 9110 10.1.1: an upstream that knows no 100 must not be waited for.
      if (nowMs - this.heardMs > continueWaitMs) this.#goOn();
      return;
    }
    if (this.#sent && this.out.queuedBytes === 0) {
      if (firstByteMs > 0 && nowMs - this.#sentMs > firstByteMs)
        this.fail(new Failure("first_byte_timeout", `${this.name} did not answer within ${firstByteMs / 1000} s`));
    } else if (idleMs > 0 && this.out.queuedBytes > 0 && nowMs - this.heardMs > idleMs) {
      this.fail(new Failure("first_byte_timeout", `${this.name} took nothing of the request for ${idleMs / 1000} s`));
    }
  }

  #goOn(): void {
    this.#holding = false;
    this.#upload!.begin();
    this.out.flush();
  }

  // The answer.

  #readHeads(input: Buffer): void {
    for (;;) {
      const end = findHeadEnd(input, this.at + this.#scanned);
      if (end < 0) return this.#headIncomplete(input);
      const head = this.#head;
      if (parseResponseHead(head, input, this.at, end, limits) !== 0)
        return this.fail(new Failure("bad_answer", `${this.name}: ${head.reason}`));
      this.at = end;
      this.#scanned = 0;
      const attempt = this.#attempt!;
      if (head.status >= 200) return this.#answered(attempt, head);
      if (head.status === 101) return this.#switch(attempt, head);
      if (++this.#interim > interimAnswersMax)
        return this.fail(new Failure("bad_answer", `${this.name} sent more than ${interimAnswersMax} interim answers`));
      if (head.status !== 100) attempt.exchange.interim?.(new SocketAnswer(head, undefined));
      // The 100 for the client is sent when its body is asked for.
      else if (this.#holding) this.#goOn();
      if (this.closed) return;
      if (this.at === input.length) return this.consumed(this.at, this.at);
    }
  }

  #headIncomplete(input: Buffer): void {
    const length = input.length - this.at;
    const hint = tlsHint(this.#attempt!.member, input.subarray(this.at));
    if (hint !== "") return this.fail(new Failure("early_reset", `${this.name} did not answer in HTTP${hint}`));
    if (hasBareLineFeed(input, this.at + Math.max(0, this.#scanned - 1), input.length))
      return this.fail(new Failure("bad_answer", `${this.name}: a bare LF in the head of its answer`));
    this.#scanned = Math.max(0, length - 3);
    if (length > answerHeadBytesMax)
      this.fail(
        new Failure("bad_answer", `the head of ${this.name}'s answer is longer than ${answerHeadBytesMax} bytes`),
      );
  }

  #answered(attempt: Attempt, head: ResponseHead): void {
    this.#waiting = false;
    const kind = head.bodyKind(attempt.exchange.method);
    if (kind === "none") {
      // The connection first: what the reader does next may want it.
      this.finish();
      return attempt.answered(new SocketAnswer(head, undefined), this.heardMs);
    }
    const { timeouts } = attempt.route;
    this.#body = new AnswerBody(
      this,
      kind,
      kind === "length" ? head.contentLength : -1,
      isEventStream(head) ? timeouts.streamMs : timeouts.idleMs,
      this.heardMs,
    );
    this.#answer = new SocketAnswer(head, this.#body);
    attempt.answered(this.#answer, this.heardMs);
  }

  #switch(attempt: Attempt, head: ResponseHead): void {
    const { exchange } = attempt;
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
    const early = this.at < this.input!.length ? this.input!.subarray(this.at) : undefined;
    this.#over();
    const listen = (events: SocketEvents) => this.handOver(new Lent(events, () => this.#returned()));
    attempt.answered(
      new SocketAnswer(head, undefined, { transport: this.transport, out: this.out, early, listen }),
      this.heardMs,
    );
  }

  /** The tunnel has ended: until now it counted as a connection of the pool. */
  #returned(): void {
    if (this.closed) return;
    this.closed = true;
    this.owner.gone(this);
  }

  // Used by the upload and the body.

  /** @internal the request was sent to its end */
  requestSent(): void {
    this.#sent = true;
    this.#sentMs = performance.now();
  }

  /** @internal @param length of the input when it was read: whoever got the bytes may have given their memory back */
  consumed(to: number, length: number): void {
    this.at = to;
    if (to !== length) return;
    this.input = undefined;
    this.at = 0;
  }

  /** @internal The answer was read to its end: back to the pool, if both sides may go on and nothing is left over. */
  finish(): void {
    const { keepAlive, keepAliveTimeout } = this.#head;
    // Who has not written the head yet looks at it later, when this connection may have read another one.
    if (!this.#answer?.written) this.#head = new ResponseHead();
    const surplus = this.input !== undefined && this.at < this.input.length;
    this.input = undefined;
    this.at = 0;
    const sent = this.#sent;
    this.#over();
    if (!keepAlive || this.#peerFinished || surplus || !sent || this.out.queuedBytes > 0 || this.closed)
      return this.shut();
    if (keepAliveTimeout > 0) this.keepAliveMs = keepAliveTimeout * 1000;
    this.owner.idle(this);
  }

  /** No exchange is under way any more, and no more of its request is wanted. */
  #over(): void {
    if (!this.#sent) this.#upload?.stop();
    this.#attempt?.exchange.attend(undefined);
    this.#attempt = undefined;
    this.#waiting = false;
    this.#holding = false;
    this.#upload = undefined;
    this.#answer = undefined;
    this.#body = undefined;
  }
}

/**
 * What an operator may have to write: a server that nobody probes is spoken to in plain HTTP, and one that wants TLS either
 * says so in an alert (RFC 8446 5.1) or just hangs up.
 */
function tlsHint(member: Member, answer: Uint8Array | undefined): string {
  if (wireOf(member) !== "http") return "";
  if (answer && answer[0] === 0x15 && answer[1] === 0x03)
    return "; what it sent is TLS: its path needs `protocol: https`";
  const unprobed = member.endpoint.wire === undefined && !member.health.probe;
  return unprobed && !answer ? "; if it speaks TLS, its path needs `protocol: https`" : "";
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

/** The body of a request on its way to the upstream. */
class Upload implements BodySink {
  /** composing: the head waits for the first bytes of the body */
  #composing = true;
  #stopped = false;
  readonly #chunked: boolean;

  constructor(
    readonly connection: UpstreamConnection,
    readonly body: Body,
    /** names that are no trailers of this request either, by the route's rules */
    readonly dropped: ReadonlySet<string>,
  ) {
    this.#chunked = body.length < 0;
  }

  begin(): void {
    this.body.start(this);
    this.#composing = false;
  }

  resume(): void {
    if (!this.#stopped) this.body.resume();
  }

  stop(): void {
    this.#stopped = true;
    this.body.cancel();
  }

  write(chunk: Uint8Array): boolean {
    const { connection } = this;
    const { out } = connection;
    if (this.#stopped || chunk.length === 0) return true;
    connection.heardMs = performance.now();
    if (this.#chunked) out.text(`${chunk.length.toString(16)}\r\n`);
    out.chunk(chunk);
    if (this.#chunked) out.text("\r\n");
    return this.#composing ? out.queuedBytes === 0 : out.flush();
  }

  end(trailers?: readonly FieldLine[]): void {
    const { connection } = this;
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#chunked) connection.out.text(`0\r\n${trailerLines(trailers, this.dropped)}\r\n`);
    connection.requestSent();
    if (!this.#composing) connection.out.flush();
  }

  fail(failure: Failure): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.connection.fail(failure);
  }
}

export class SocketAnswer implements Answer {
  readonly status: number;
  /** the head was copied: its bytes are not looked at again */
  written = false;

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

function isEventStream(head: ResponseHead): boolean {
  return head.begins("content-type", "text/event-stream");
}
