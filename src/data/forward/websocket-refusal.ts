/** An upstream's answer that is not 101: its head and a small body, collected, so that the client sees why. */
import * as limits from "../../lib/limits.ts";
import type { Body, BodySink } from "../body.ts";
import type { Answer, FieldVisitor } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { fieldOf, type ResponseHead } from "../wire/response-head.ts";

/** A head with or without a body, as an Answer. */
export class HeadAnswer implements Answer {
  readonly status: number;
  readonly reason: string;

  constructor(
    private readonly head: ResponseHead,
    readonly body: Body | undefined,
  ) {
    this.status = head.status;
    this.reason = head.reason;
  }

  field(name: string): string | undefined {
    return fieldOf(this.head.lines, name);
  }

  eachField(visit: FieldVisitor): void {
    for (const [name, value] of this.head.lines) visit(name, value);
  }
}

const chunkLineBytesMax = 4096;

/** Collects the body behind a head (RFC 9112 6.3), up to limits.webSocketRefusalBytesMax. */
export class Refusal {
  private readonly bytes = new Uint8Array(limits.webSocketRefusalBytesMax);
  private filled = 0;
  /** bytes still announced by Content-Length or by the chunk at hand; -1 = up to the end of the connection */
  private left = -1;
  private readonly announced: number = -1;
  private chunkPart: "size" | "data" | "data end" | "trailers" | undefined;
  private line = "";
  private state: "open" | "complete" | "cut" = "open";

  /** @throws Failure `bad_answer` when the framing is ambiguous */
  constructor(private readonly head: ResponseHead) {
    const coding = fieldOf(head.lines, "transfer-encoding");
    const length = fieldOf(head.lines, "content-length");
    if (coding !== undefined) {
      if (coding.toLowerCase() !== "chunked" || length !== undefined || head.version === "HTTP/1.0") {
        throw bad(`Transfer-Encoding "${coding}"${length === undefined ? "" : " beside Content-Length"}`);
      }
      this.chunkPart = "size";
    } else if (length !== undefined) {
      if (!/^[0-9]{1,15}$/.test(length)) throw bad(`Content-Length "${length}"`);
      this.left = this.announced = Number(length);
      if (this.left === 0) this.state = "complete";
    }
    if (head.status === 204 || head.status === 304) this.state = "complete";
  }

  /** No further byte is needed. */
  get done(): boolean {
    return this.state !== "open";
  }

  push(data: Uint8Array): void {
    let at = 0;
    while (at < data.length && this.state === "open") {
      at = this.chunkPart === undefined || this.chunkPart === "data" ? this.take(data, at) : this.readLine(data, at);
    }
  }

  /** The connection ended: complete only where that is the framing. */
  end(): void {
    if (this.state === "open") this.state = this.left === -1 && this.chunkPart === undefined ? "complete" : "cut";
  }

  /** Nothing more is waited for; what is missing counts as cut. */
  cut(): void {
    if (this.state === "open") this.state = "cut";
  }

  answer(): Answer {
    const bytes = this.bytes.slice(0, this.filled);
    if (this.state === "complete")
      return new HeadAnswer(this.head, this.filled === 0 ? undefined : new KeptBody(bytes));
    const why = `The body of the upstream's refusal did not come to its end within the bounds (${this.filled} bytes came)`;
    return new HeadAnswer(this.head, new KeptBody(bytes, this.announced, new Failure("body_cut", why)));
  }

  private take(data: Uint8Array, at: number): number {
    const wanted = this.left === -1 ? data.length - at : Math.min(this.left, data.length - at);
    const room = this.bytes.length - this.filled;
    const end = at + Math.min(wanted, room);
    this.bytes.set(data.subarray(at, end), this.filled);
    this.filled += end - at;
    if (wanted > room) this.state = "cut";
    if (this.left > 0) {
      this.left -= end - at;
      if (this.left === 0) {
        if (this.chunkPart === undefined) this.state = "complete";
        else this.chunkPart = "data end";
      }
    }
    return end;
  }

  private readLine(data: Uint8Array, at: number): number {
    for (; at < data.length; at++) {
      this.line += String.fromCharCode(data[at]!);
      if (this.line.endsWith("\r\n")) {
        this.lineRead(this.line.slice(0, -2));
        this.line = "";
        return at + 1;
      }
      if (this.line.length > chunkLineBytesMax) this.state = "cut";
      if (this.state !== "open") break;
    }
    return at;
  }

  private lineRead(line: string): void {
    if (this.chunkPart === "data end") {
      this.chunkPart = "size";
      if (line !== "") this.state = "cut";
    } else if (this.chunkPart === "trailers") {
      if (line === "") this.state = "complete";
    } else {
      const size = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(line);
      if (size === null) this.state = "cut";
      else this.left = parseInt(size[1]!, 16);
      this.chunkPart = this.left === 0 ? "trailers" : "data";
    }
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

function bad(what: string): Failure {
  return new Failure("bad_answer", `Cannot read the upstream's refusal of an upgrade: it has ${what}`);
}
