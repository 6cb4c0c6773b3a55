/** Writes one reply on a stream: its head in HPACK, its body within the client's windows. */
import { nominatedBy, passableTrailers } from "../../lib/fields.ts";
import { http2FrameBytes, releasedBytesMin } from "../../lib/limits.ts";
import { httpDateNow } from "../../lib/http-date.ts";
import { release } from "../../lib/release.ts";
import type { Body, BodySink, FieldLine } from "../body.ts";
import type { Answer, OwnReply, PassedReply, Reply } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { AnswerBody } from "../forward/answer-body.ts";
import { contentLength } from "../forward/http.ts";
import { SocketAnswer } from "../forward/upstream-connection.ts";
import { grpcFields, grpcStatusOf, readGrpcStatus, UNAVAILABLE } from "../grpc.ts";
import { copyFields, type HeaderEdits } from "../headers/edits.ts";
import { OTHER } from "../wire/head-bytes.ts";
import type { HpackEncoder } from "../wire/http2/hpack-encoder.ts";
import { CANCEL, INTERNAL_ERROR } from "../wire/http2/protocol.ts";
import type { Http2Exchange } from "./http2-exchange.ts";

export class Http2Reply implements BodySink {
  #bytes = 0;
  #status: number;
  #grpcStatus: number | undefined;
  #body: Body | undefined;
  #started = false;
  #told = false;
  #over = false;
  #spent: Uint8Array | undefined;
  #failure: Failure | undefined;
  #drained: (() => void) | undefined;

  constructor(
    readonly exchange: Http2Exchange,
    readonly reply: Reply,
  ) {
    this.#status = reply.status;
  }

  begin(): void {
    const { reply } = this;
    const encoder = this.exchange.stream.beginHead();
    if (!encoder) {
      this.#over = true;
      reply.passed?.body?.cancel();
      return this.#tell(true);
    }
    if (reply.passed) this.#passed(encoder, reply, reply.passed);
    else if (this.exchange.grpc && reply.status >= 300) this.#ownGrpc(encoder, reply);
    else this.#own(encoder, reply);
  }

  /** The stream takes more. */
  writable(): void {
    release(this.#spent);
    this.#spent = undefined;
    if (this.#over) return;
    this.#drained?.();
    if (!this.#started && this.#body) this.#start(this.#body);
    else this.#body?.resume();
  }

  /** All of it is on its way. */
  sent(): void {
    this.#tell(this.#failure !== undefined);
  }

  /** The client, or its stream, is gone. */
  gone(): void {
    this.#over = true;
    this.#body?.cancel();
    this.#tell(true);
  }

  /** The answer cannot be completed: the client must see that. */
  cut(failure: Failure): void {
    if (this.#over) return;
    const { stream, grpc } = this.exchange;
    this.#failure = failure;
    this.#over = true;
    this.#body?.cancel();
    if (grpc && !stream.queued) {
      // A call that has begun can still end with a status of its own.
      const status = failure.code === "body_cut" ? UNAVAILABLE : grpcStatusOf(failure.status);
      this.#grpcStatus = status;
      stream.end(grpcFields(status, words(failure)));
    } else {
      stream.reset(failure.source === "client" ? CANCEL : INTERNAL_ERROR);
      this.#tell(true);
    }
  }

  // As the sink of an answer's body.

  write(chunk: Uint8Array): boolean {
    if (this.#over) return false;
    const { stream } = this.exchange;
    this.#bytes += chunk.length;
    const room = stream.write(chunk);
    // The chunks of an upstream are ours alone, those of a file are Bun's. What is queued by reference goes later; small
    // ones are not worth the look.
    if (this.#body && chunk.length >= releasedBytesMin) {
      if (stream.queued) this.#spent = chunk;
      else release(chunk);
    }
    return room;
  }

  end(trailers?: readonly FieldLine[]): void {
    if (this.#over) return;
    this.#over = true;
    this.#body = undefined;
    const passable = trailers && passableTrailers(trailers, this.#dropped);
    if (passable && this.exchange.grpc)
      this.#grpcStatus ??= readGrpcStatus(passable.find(([name]) => name.toLowerCase() === "grpc-status")?.[1]);
    this.exchange.stream.end(passable);
  }

  fail(failure: Failure): void {
    this.cut(failure);
  }

  // As what a body that is here already is copied to.

  get room(): number {
    return Math.min(this.exchange.stream.room(), http2FrameBytes);
  }

  copy(bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (end > start) this.exchange.stream.put(bytes, start, end);
  }

  /** names that are no trailers of this answer either, by the route's rules */
  get #dropped(): ReadonlySet<string> {
    return this.reply.passed ? this.reply.edits.drop : nothing;
  }

  #tell(cut: boolean): void {
    if (this.#told) return;
    this.#told = true;
    this.exchange.connection.answered(this.exchange, {
      status: this.#status,
      bytesOut: this.#bytes,
      cut,
      failure: this.#failure,
      grpcStatus: this.#grpcStatus,
    });
  }

  /** A head without a body. */
  #headOnly(): void {
    this.#over = true;
    this.exchange.stream.sendHead(true);
  }

  #own(encoder: HpackEncoder, reply: OwnReply): void {
    const { content, status } = reply;
    const { exchange } = this;
    encoder.status(status);
    let length = content === undefined ? 0 : content instanceof Blob ? content.size : Buffer.byteLength(content);
    for (const [name, value] of reply.fields) {
      if (name.toLowerCase() === "content-length") length = contentLength(value);
      else encoder.text(name, value);
    }
    encoder.text("date", httpDateNow());
    if (status !== 204 && status !== 304) encoder.text("content-length", String(length));
    const silent = exchange.method === "HEAD" || status === 204 || status === 304;
    if (silent || content === undefined || length === 0) return this.#headOnly();
    exchange.stream.sendHead(false);
    if (content instanceof Blob) return void this.#sendBlob(content, length);
    this.write(typeof content === "string" ? Buffer.from(content) : content);
    this.end();
  }

  /** Our own errors as gRPC tells them: HTTP 200, and the status in the head (a "trailers-only" answer). */
  #ownGrpc(encoder: HpackEncoder, reply: OwnReply): void {
    const status = grpcStatusOf(reply.status);
    const text = typeof reply.content === "string" ? reply.content.trim().replace(/^\d+ [^:]*: /, "") : "";
    this.#status = 200;
    this.#grpcStatus = status;
    encoder.status(200);
    encoder.text("content-type", "application/grpc");
    for (const [name, value] of grpcFields(status, text)) encoder.text(name, value);
    for (const [name, value] of reply.fields) {
      const lower = name.toLowerCase();
      if (lower !== "content-type" && lower !== "content-length") encoder.text(name, value);
    }
    encoder.text("date", httpDateNow());
    this.#headOnly();
  }

  /** A file: read as the client takes it; one that has become shorter must not look complete. */
  async #sendBlob(content: Blob, length: number): Promise<void> {
    try {
      const reader = content.stream().getReader();
      for (;;) {
        const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
        if (this.#over) return void reader.cancel();
        if (done || !value) break;
        if (!this.write(value) && !this.#over) await new Promise<void>((resolve) => (this.#drained = resolve));
        this.#drained = undefined;
        if (this.#over) return void reader.cancel();
      }
      if (this.#bytes === length) this.end();
      else this.cut(new Failure("body_cut", `the file ended after ${this.#bytes} of ${length} bytes`));
    } catch (error) {
      this.cut(new Failure("body_cut", `the file could not be read: ${(error as Error).message}`));
    }
  }

  #passed(encoder: HpackEncoder, reply: PassedReply, answer: Answer): void {
    const { body } = answer;
    encoder.status(answer.status);
    if (answer instanceof SocketAnswer) copyHead(encoder, answer, reply.edits);
    else {
      copyFields(
        answer,
        reply.edits,
        (lower) => lower !== "content-length" || !body || body.length >= 0,
        (name, value) => encoder.text(name, value),
      );
    }
    const { bytes, offsets } = reply.edits;
    for (let i = 0; i < offsets.length; i += 4)
      encoder.field(bytes, offsets[i]!, offsets[i + 1]!, offsets[i + 2]!, offsets[i + 3]!);
    for (const [name, value] of reply.fields) encoder.text(name, value);
    if (!isDated(answer) && !reply.edits.drop.has("date")) encoder.text("date", httpDateNow());
    if (this.exchange.grpc) this.#grpcStatus = readGrpcStatus(answer.field("grpc-status"));
    // Its bytes are not looked at again: the upstream's connection may read another head into the same object.
    if (answer instanceof SocketAnswer) answer.written = true;
    if (!body) return this.#headOnly();
    this.exchange.stream.sendHead(false);
    if (body instanceof AnswerBody && body.copyTo(this)) return this.end();
    this.#body = body;
    // A client that takes nothing yet must not make its upstream's bytes wait here.
    if (this.exchange.stream.room() > 0) this.#start(body);
    else {
      body.hold?.();
      this.exchange.stream.askRoom();
    }
  }

  #start(body: Body): void {
    this.#started = true;
    body.start(this);
  }
}

const nothing: ReadonlySet<string> = new Set();

function isDated(answer: Answer): boolean {
  return answer instanceof SocketAnswer ? answer.head.has("date") : answer.field("date") !== undefined;
}

/** The answer's own lines, byte for byte. */
function copyHead(encoder: HpackEncoder, { head }: SocketAnswer, edits: HeaderEdits): void {
  const { bytes, lines, count, sensitive } = head;
  const drops = edits.answerDrops;
  const nominated = (head.connection & OTHER) !== 0 ? nominatedBy(head.field("connection")) : undefined;
  for (let line = 0; line < count; line++) {
    const start = lines[line * 4]!;
    const end = lines[line * 4 + 1]!;
    if (drops.has(bytes, start, end) || nominated?.has(bytes.toString("latin1", start, end).toLowerCase())) continue;
    encoder.field(bytes, start, end, lines[line * 4 + 2]!, lines[line * 4 + 3]!, sensitive?.has(line));
  }
}

/** What a client may know of a failure. */
function words(failure: Failure): string {
  if (failure.code === "deadline_exceeded") return "the deadline of the call has passed";
  if (failure.code === "body_timeout") return "the upstream server was silent";
  return failure.source === "client" ? "the request was not complete" : "the upstream server ended the call";
}
