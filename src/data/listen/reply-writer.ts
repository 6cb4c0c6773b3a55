/** Writes one reply on an HTTP/1.1 connection of ours: head and first body bytes in one write. */
import { nominatedBy, trailerLines } from "../../lib/fields.ts";
import { writeHttpDate } from "../../lib/http-date.ts";
import { release } from "../../lib/release.ts";
import type { Body, BodySink } from "../body.ts";
import type { Answer, OwnReply, PassedReply, Reply } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { contentLength } from "../forward/http.ts";
import { AnswerBody } from "../forward/answer-body.ts";
import { SocketAnswer } from "../forward/upstream-connection.ts";
import { refuse, titleOf } from "../guards/guard.ts";
import { copyFields, type HeaderEdits } from "../headers/edits.ts";
import { SP } from "../wire/byte-classes.ts";
import { OTHER } from "../wire/head-bytes.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import type { Http1Connection } from "./http1.ts";

export class ReplyWriter implements BodySink {
  #bytes = 0;
  #chunked = false;
  #body: Body | undefined;
  #over = false;
  #composing = true;
  #spent: Uint8Array | undefined;
  #mark = 0;
  #failure: Failure | undefined;
  #drained: (() => void) | undefined;

  constructor(
    readonly connection: Http1Connection,
    readonly exchange: Http1Exchange,
    private reply: Reply,
    private goOn: boolean,
  ) {}

  begin(): void {
    this.#mark = this.connection.out.writtenBytes;
    const { reply } = this;
    if (reply.passed) this.#passed(reply, reply.passed);
    else this.#own(reply);
  }

  /** The head of a 101; what follows is not HTTP. */
  switchHead(): void {
    const { passed, edits, fields } = this.reply as PassedReply;
    const { out } = this.connection;
    out.text("HTTP/1.1 101 Switching Protocols\r\n");
    out.text(`Connection: Upgrade\r\nUpgrade: ${passed.field("upgrade")}\r\n`);
    copyFields(
      passed,
      edits,
      () => true,
      (name, value) => out.text(`${name}: ${value}\r\n`),
    );
    for (const [name, value] of [...edits.lines, ...fields]) out.text(`${name}: ${value}\r\n`);
    out.text("\r\n");
    out.flush();
  }

  drained(): void {
    release(this.#spent);
    this.#spent = undefined;
    if (this.#over) return this.#finish();
    this.#drained?.();
    this.#body?.resume();
  }

  /** The client reads nothing. */
  unread(writeMs: number): void {
    this.#cut(new Failure("client_timeout", `the client read nothing for ${writeMs / 1000} s`));
  }

  /** The client is gone. */
  gone(): void {
    if (this.#over) return;
    this.#over = true;
    this.#body?.cancel();
    this.#tell(true);
  }

  // As the sink of an answer's body.

  write(chunk: Uint8Array): boolean {
    if (this.#over) return false;
    const { out } = this.connection;
    this.#bytes += chunk.length;
    this.connection.moved();
    if (this.#chunked) out.text(`${chunk.length.toString(16)}\r\n`);
    out.chunk(chunk);
    if (this.#chunked) out.text("\r\n");
    if (this.#composing) return true;
    const flushed = out.flush();
    // The chunks of an upstream are ours alone, those of a file are Bun's. What is queued by reference goes at the drain.
    if (this.#body && flushed) release(chunk);
    else if (this.#body) this.#spent = chunk;
    return flushed;
  }

  end(trailers?: readonly (readonly [string, string])[]): void {
    if (this.#over) return;
    const { out } = this.connection;
    const { reply } = this;
    if (this.#chunked && reply.passed) out.text(`0\r\n${trailerLines(trailers, reply.edits.drop)}\r\n`);
    this.#over = true;
    this.#body = undefined;
    this.#tell(false);
    if (out.flush()) this.#finish();
  }

  fail(failure: Failure): void {
    this.#cut(failure);
  }

  #cut(failure: Failure): void {
    if (this.#over) return;
    const { out } = this.connection;
    // Nothing of the head has left yet: the client can still be told.
    if (this.#composing && out.discard(this.#mark)) {
      this.#body = undefined;
      this.#chunked = false;
      this.#bytes = 0;
      this.goOn = false;
      this.#failure = failure;
      const own = refuse(failure.status, "the upstream server gave no valid answer");
      own.fields.push(["X-Request-Id", this.exchange.id]);
      this.reply = own;
      return this.#own(own);
    }
    this.#over = true;
    this.#body?.cancel();
    this.#failure = failure;
    this.#tell(true);
    this.connection.broken();
  }

  #tell(cut: boolean): void {
    this.connection.site.options.ended(this.exchange, {
      status: this.reply.status,
      bytesOut: this.#bytes,
      cut,
      failure: this.#failure,
    });
  }

  #finish(): void {
    this.connection.answered(this.goOn);
  }

  #statusLine(status: number, reason: string): void {
    this.connection.out.text(`HTTP/1.1 ${status} ${reason}\r\n`);
  }

  #connectionLine(): void {
    if (!this.goOn) this.connection.out.text("Connection: close\r\n");
    else if (this.exchange.version === "HTTP/1.0") this.connection.out.text("Connection: keep-alive\r\n");
  }

  #own(reply: OwnReply): void {
    const { out } = this.connection;
    const { content, status } = reply;
    const silent = this.exchange.method === "HEAD" || status === 204 || status === 304;
    this.#statusLine(status, titleOf(status));
    let length = content === undefined ? 0 : content instanceof Blob ? content.size : Buffer.byteLength(content);
    let head = "";
    for (const [name, value] of reply.fields) {
      if (name.toLowerCase() === "content-length") length = contentLength(value);
      else head += `${name}: ${value}\r\n`;
    }
    head += `Date: ${dateNow()}\r\n`;
    if (status !== 204 && status !== 304) head += `Content-Length: ${length}\r\n`;
    out.text(head);
    this.#connectionLine();
    out.text("\r\n");
    if (silent || content === undefined) return this.end();
    if (content instanceof Blob) return void this.#sendBlob(content, length);
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    this.#bytes = bytes.length;
    out.chunk(bytes);
    this.end();
  }

  /** A file: read as the client takes it; one that has become shorter must not look complete. */
  async #sendBlob(content: Blob, length: number): Promise<void> {
    this.#composing = false;
    try {
      const reader = content.stream().getReader();
      for (;;) {
        const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
        if (this.#over) return void reader.cancel();
        if (done || !value) break;
        if (!this.write(value)) await new Promise<void>((resolve) => (this.#drained = resolve));
        this.#drained = undefined;
        if (this.#over) return void reader.cancel();
      }
      if (this.#bytes === length) this.end();
      else this.#cut(new Failure("body_cut", `the file ended after ${this.#bytes} of ${length} bytes`));
    } catch (error) {
      this.#cut(new Failure("body_cut", `the file could not be read: ${(error as Error).message}`));
    }
  }

  #passed(reply: PassedReply, answer: Answer): void {
    const { out } = this.connection;
    const { body } = answer;
    // A body without a length ends, for HTTP/1.0, with the connection.
    if (body && body.length < 0) {
      if (this.exchange.version === "HTTP/1.0") this.goOn = false;
      else this.#chunked = true;
    }
    if (answer instanceof SocketAnswer) this.#copyHead(answer, reply.edits);
    else this.#visitHead(answer, reply.edits, body);
    const { bytes } = reply.edits;
    if (bytes.length > 0) out.copy(bytes, 0, bytes.length);
    for (const [name, value] of reply.fields) out.text(`${name}: ${value}\r\n`);
    if (answer.field("date") === undefined && !reply.edits.drop.has("date")) out.text(`Date: ${dateNow()}\r\n`);
    if (this.#chunked) out.text("Transfer-Encoding: chunked\r\n");
    this.#connectionLine();
    out.copy(lineEnd, 0, 2);
    if (!body) return this.end();
    if (body instanceof AnswerBody && body.copyTo(out)) {
      this.#bytes = body.length;
      return this.end();
    }
    this.#body = body;
    body.start(this);
    this.#composing = false;
    if (!this.#over) out.flush();
  }

  /** From the fields of another engine. */
  #visitHead(answer: Answer, edits: HeaderEdits, body: Body | undefined): void {
    const { out } = this.connection;
    this.#statusLine(answer.status, answer.reason || titleOf(answer.status));
    copyFields(
      answer,
      edits,
      (lower) => lower !== "content-length" || !body || body.length >= 0,
      (name, value) => out.text(`${name}: ${value}\r\n`),
    );
  }

  /** The answer's own lines, byte for byte; neighbours that stay go as one range. */
  #copyHead(answer: SocketAnswer, edits: HeaderEdits): void {
    const { out } = this.connection;
    const { head } = answer;
    answer.written = true;
    const { bytes, lines, count } = head;
    // The status line goes with the lines behind it, where it can go as it came.
    let from = head.start;
    if (head.minor !== 1 || bytes[head.reasonStart - 1] !== SP) {
      out.text(`HTTP/1.1 ${head.status} `);
      from = head.reasonStart;
    }
    const drops = edits.answerDrops;
    const nominated = (head.connection & OTHER) !== 0 ? nominatedBy(head.field("connection")) : undefined;
    for (let i = 0; i < count; i++) {
      const start = lines[i * 4]!;
      const end = lines[i * 4 + 1]!;
      if (!drops.has(bytes, start, end) && !nominated?.has(bytes.toString("latin1", start, end).toLowerCase())) {
        if (from < 0) from = start;
        continue;
      }
      if (from >= 0) out.copy(bytes, from, start);
      from = -1;
    }
    if (from >= 0) out.copy(bytes, from, head.end - 2);
  }
}

const lineEnd = Buffer.from("\r\n", "latin1");

let dateText = "";
let dateSecond = 0;

/** RFC 9110 6.6.1: an answer without Date gets one; the text changes once a second. */
function dateNow(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = writeHttpDate(second * 1000);
  }
  return dateText;
}
