/** An upstream's answer that is not 101: its head and a small body, collected, so that the client sees why. */
import { webSocketRefusalBytesMax } from "../../lib/limits.ts";
import type { Body, BodySink } from "../body.ts";
import type { Answer, FieldVisitor } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { ChunkedReader } from "../wire/chunked.ts";
import type { BodyKind, ResponseHead } from "../wire/response-head-bytes.ts";

/** A head with or without a body, as an Answer. */
export class HeadAnswer implements Answer {
  readonly status: number;
  readonly reason: string;

  constructor(
    private readonly head: ResponseHead,
    readonly body: Body | undefined,
  ) {
    this.status = head.status;
    this.reason = head.reasonPhrase();
  }

  field(name: string): string | undefined {
    return this.head.field(name);
  }

  eachField(visit: FieldVisitor): void {
    this.head.each(visit);
  }
}

/** Collects the body behind a head (RFC 9112 6.3), up to webSocketRefusalBytesMax. */
export class Refusal {
  private readonly bytes = Buffer.alloc(webSocketRefusalBytesMax);
  private filled = 0;
  private readonly kind: BodyKind;
  private readonly chunks: ChunkedReader | undefined;
  private state: "open" | "complete" | "cut";

  constructor(private readonly head: ResponseHead) {
    this.kind = head.bodyKind("GET");
    if (this.kind === "chunked") this.chunks = new ChunkedReader();
    this.state = this.kind === "none" ? "complete" : "open";
  }

  /** No further byte is needed. */
  get done(): boolean {
    return this.state !== "open";
  }

  push(data: Buffer): void {
    if (this.state !== "open") return;
    if (this.chunks) this.pushChunked(data, this.chunks);
    else {
      const left = this.kind === "length" ? this.head.contentLength - this.filled : data.length;
      this.take(data.subarray(0, left));
      if (this.kind === "length" && this.filled === this.head.contentLength) this.state = "complete";
    }
  }

  /** The connection ended: complete only where that is the framing. */
  end(): void {
    if (this.state === "open") this.state = this.kind === "close" ? "complete" : "cut";
  }

  /** Nothing more is waited for; what is missing counts as cut. */
  cut(): void {
    if (this.state === "open") this.state = "cut";
  }

  answer(): Answer {
    const bytes = new Uint8Array(this.bytes.subarray(0, this.filled));
    if (this.state === "complete")
      return new HeadAnswer(this.head, this.filled === 0 ? undefined : new KeptBody(bytes));
    const why = `The body of the upstream's refusal did not come to its end within the bounds (${this.filled} bytes came)`;
    return new HeadAnswer(this.head, new KeptBody(bytes, this.head.contentLength, new Failure("body_cut", why)));
  }

  private pushChunked(data: Buffer, chunks: ChunkedReader): void {
    chunks.feed(data, 0, data.length, { data: (bytes) => this.take(bytes) });
    if (chunks.error !== "") this.cut();
    else if (chunks.done && this.state === "open") this.state = "complete";
  }

  /** @returns false when there is no more room */
  private take(data: Buffer): boolean {
    const taken = data.copy(this.bytes, this.filled);
    this.filled += taken;
    if (taken < data.length) this.state = "cut";
    return this.state === "open";
  }
}

/** Bytes in memory as a Body; with a failure, one that never looks complete. */
class KeptBody implements Body {
  private sink: BodySink | undefined;

  constructor(
    private readonly bytes: Uint8Array,
    readonly length: number = bytes.length,
    private readonly failure?: Failure,
  ) {}

  start(sink: BodySink): void {
    this.sink = sink;
    if (this.bytes.length === 0 || sink.write(this.bytes)) this.resume();
  }

  resume(): void {
    const { sink } = this;
    this.sink = undefined;
    if (this.failure === undefined) sink?.end();
    else sink?.fail(this.failure);
  }

  cancel(): void {
    this.sink = undefined;
  }
}
