/** A connection as the engines keep one, over our parsers: takes pieces of bytes, gives a Reading. */
import { ChunkedReader } from "../../src/data/wire/chunked.ts";
import { FieldLines, findHeadEnd, hasBareLineFeed } from "../../src/data/wire/head-bytes.ts";
import { parseRequestHead, RequestHead } from "../../src/data/wire/request-head.ts";
import { absoluteForm } from "../../src/data/wire/request-target.ts";
import { parseResponseHead, ResponseHead } from "../../src/data/wire/response-head-bytes.ts";
import { readAuthority } from "../../src/data/routing/host.ts";
import type { Line, Message, Reading } from "./reading.ts";

export const testLimits = { targetBytesMax: 4_096, headBytesMax: 8_192, linesMax: 100 };

/** Reused over all inputs, as a connection reuses them: what one message leaves behind must not show in the next. */
const requestHead = new RequestHead();
const responseHead = new ResponseHead();

/** @param pieces in the order they arrive */
export function readRequests(pieces: readonly Buffer[]): Reading {
  const reader = new RequestReader();
  for (const piece of pieces) reader.take(piece);
  return reader.reading();
}

/** @param method of the requests that are answered */
export function readResponses(pieces: readonly Buffer[], method: string): Reading {
  const reader = new ResponseReader(method);
  for (const piece of pieces) reader.take(piece);
  return reader.reading();
}

abstract class Reader {
  protected messages: Message[] = [];
  protected state: Reading["state"] = "empty";
  protected reason = "";
  protected message: Message | undefined;
  /** bytes of a body of known length that are still to come; Infinity until the connection ends */
  protected left = 0;
  protected last = false;
  #input: Buffer = Buffer.alloc(0);
  #scanned = 0;
  #chunks: ChunkedReader | undefined;

  take(piece: Buffer): void {
    if (this.state === "refused" || this.state === "closed") return;
    this.#input = this.#input.length === 0 ? piece : Buffer.concat([this.#input, piece]);
    while (this.#input.length > 0 && (this.message ? this.#readBody() : this.#readHead()));
  }

  reading(): Reading {
    if (this.state !== "refused" && this.state !== "closed") {
      if (this.message && this.left === Infinity) this.#complete();
      else this.state = this.message || this.#input.length > 0 ? "incomplete" : "empty";
    }
    return { messages: this.messages, state: this.state, reason: this.reason };
  }

  /** @returns undefined after a refusal */
  protected abstract begin(input: Buffer, end: number): Message | undefined;

  protected framed(message: Message, length: number, chunked: boolean): void {
    this.message = message;
    this.left = chunked ? 0 : length;
    if (chunked) this.#chunks = new ChunkedReader();
    else if (length === 0) this.#complete();
  }

  protected refuse(reason: string): undefined {
    this.state = "refused";
    this.reason = reason;
  }

  #readHead(): boolean {
    const input = this.#input;
    const end = findHeadEnd(input, this.#scanned);
    if (end < 0) {
      if (hasBareLineFeed(input, Math.max(0, this.#scanned - 1), input.length)) this.refuse("a bare LF");
      else if (input.length > testLimits.headBytesMax) this.refuse("the head is too long");
      this.#scanned = Math.max(0, input.length - 3);
      return false;
    }
    this.#scanned = 0;
    this.#input = input.subarray(end);
    this.begin(input, end);
    return this.state !== "refused" && this.state !== "closed";
  }

  #readBody(): boolean {
    const input = this.#input;
    const message = this.message!;
    const chunks = this.#chunks;
    if (!chunks) {
      const taken = Math.min(this.left, input.length);
      message.body += input.toString("latin1", 0, taken);
      this.#input = input.subarray(taken);
      this.left -= taken;
      if (this.left === 0) this.#complete();
      return this.state !== "closed";
    }
    // Pausing at each slice must not matter.
    const used = chunks.feed(input, 0, input.length, {
      data(bytes) {
        if (bytes.length === 0) throw new Error("an empty slice of data");
        message.body += bytes.toString("latin1");
        return message.body.length % 2 === 0;
      },
    });
    if (chunks.error !== "") this.refuse(chunks.error);
    else {
      if (used <= 0 || used > input.length) throw new Error(`no progress: ${used} of ${input.length}`);
      this.#input = input.subarray(used);
      if (chunks.done) {
        message.trailers = chunks.trailers.map(([name, value]) => [name, value]);
        this.#chunks = undefined;
        this.#complete();
      }
    }
    return this.state !== "refused" && this.state !== "closed";
  }

  #complete(): void {
    this.messages.push(this.message!);
    this.message = undefined;
    if (this.last || this.left === Infinity) this.state = "closed";
  }
}

class RequestReader extends Reader {
  protected override begin(input: Buffer, end: number): Message | undefined {
    const head = requestHead;
    const status = parseRequestHead(head, input, 0, end, testLimits);
    if (status !== 0) return this.refuse(head.reason);
    // As the pipeline does, before anything else.
    const host = head.field("host");
    const authority = head.authorityStart < 0 ? host : input.toString("latin1", head.authorityStart, head.authorityEnd);
    if (authority !== undefined && !readAuthority(authority)) return this.refuse("an invalid Host");
    if (head.form === absoluteForm && !head.target().startsWith("/") && head.target() !== "*")
      throw new Error("no path");
    const message: Message = {
      start: `${head.method()} ${head.rawTarget()}`,
      minor: head.minor,
      lines: linesOf(head),
      body: "",
      trailers: [],
      facts: [
        `form ${head.form} ${head.target()}`,
        head.authorityStart < 0 ? "" : authority,
        `length ${head.contentLength} ${head.chunked}`,
        `keep ${head.keepAlive} upgrade ${head.upgrade} expect ${head.expectContinue}`,
        `te ${head.teTrailers} nominates ${head.nominates} underscore ${head.hasUnderscore}`,
        `host ${head.hostLine}`,
      ].join("; "),
    };
    this.last = !head.keepAlive;
    this.framed(message, Math.max(0, head.contentLength), head.chunked);
    return message;
  }
}

class ResponseReader extends Reader {
  constructor(readonly method: string) {
    super();
  }

  protected override begin(input: Buffer, end: number): Message | undefined {
    const head = responseHead;
    if (parseResponseHead(head, input, 0, end, testLimits) !== 0) return this.refuse(head.reason);
    const kind = head.bodyKind(this.method);
    const message: Message = {
      start: `${head.status} ${head.reasonPhrase()}`,
      minor: head.minor,
      lines: linesOf(head),
      body: "",
      trailers: [],
      facts: `body ${kind} ${head.contentLength} ${head.chunked}; keep ${head.keepAlive} upgrade ${head.upgrade}`,
    };
    this.last = head.status >= 200 && !head.keepAlive;
    const length = kind === "length" ? head.contentLength : kind === "close" ? Infinity : 0;
    this.framed(message, length, kind === "chunked");
    return message;
  }
}

function linesOf(head: FieldLines): Line[] {
  const lines: Line[] = [];
  head.each((name, value) => lines.push([name, value]));
  return lines;
}
