/** Opens a WebSocket to an upstream, before the client's own upgrade is answered: its refusal can then be passed on. */
import { createHash, randomBytes } from "node:crypto";
import { fieldLinesMax, upgradeHeadBytesMax, webSocketRefusalWaitMs } from "../../lib/limits.ts";
import { hasToken, isToken } from "../../lib/fields.ts";
import type { FieldLine } from "../body.ts";
import type { Answer } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { dial, type DialedSocket, type DialOptions, type SocketEvents } from "../wire/dial.ts";
import { findHeadEnd, hasBareLineFeed } from "../wire/head-bytes.ts";
import { parseResponseHead, ResponseHead } from "../wire/response-head-bytes.ts";
import { UpstreamWebSocket } from "./websocket-bridge.ts";
import { HeadAnswer, Refusal } from "./websocket-refusal.ts";

export interface UpstreamWebSocketOptions {
  readonly connect: DialOptions["connect"];
  readonly tls?: DialOptions["tls"];
  /** origin-form */
  readonly target: string;
  /** the Host field */
  readonly host: string;
  /** end-to-end fields, ready; fields of the hop and of the handshake are left out here */
  readonly fields: readonly FieldLine[];
  /** connect and TLS handshake; 0 = no limit, as with the next two */
  readonly connectMs: number;
  /** request sent → response head */
  readonly firstByteMs: number;
  /** silence on both sides of the open WebSocket */
  readonly streamMs: number;
  /** the client left; of no effect once the promise is settled */
  readonly signal?: AbortSignal;
}

export type UpstreamWebSocketResult =
  | {
      readonly kind: "open";
      /** the subprotocol it chose */
      readonly protocol: string | undefined;
      /** the 101, for Set-Cookie and the like */
      readonly answer: Answer;
      readonly socket: UpstreamWebSocket;
    }
  | { readonly kind: "refused"; readonly answer: Answer };

/**
 * @throws Failure `connect_refused`, `connect_timeout`, `name_not_found`, `tls_failed`, `first_byte_timeout`,
 *   `early_reset`, `bad_answer` (also a 101 that RFC 6455 4.1 forbids to take), `client_gone`, `unsupported`
 */
export async function openUpstreamWebSocket(options: UpstreamWebSocketOptions): Promise<UpstreamWebSocketResult> {
  const handshake = new Handshake(options);
  const socket = await dial({ ...options, events: handshake });
  return handshake.begin(socket);
}

const none = Buffer.alloc(0);

class Handshake implements SocketEvents {
  private readonly key = randomBytes(16).toString("base64");
  private readonly offered: readonly string[];
  private unsent: Uint8Array;
  private socket: DialedSocket | undefined;
  private timer: Timer | undefined;
  private settle: { resolve(result: UpstreamWebSocketResult): void; reject(failure: Failure): void } | undefined;

  private received: Buffer<ArrayBuffer> = none;
  private scanned = 0;
  private headBytes = 0;
  private refusal: Refusal | undefined;

  constructor(private readonly options: UpstreamWebSocketOptions) {
    this.unsent = requestBytes(options, this.key);
    this.offered = protocolsOf(options.fields);
  }

  begin(socket: DialedSocket): Promise<UpstreamWebSocketResult> {
    const { firstByteMs, signal } = this.options;
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.socket = socket;
      signal?.addEventListener("abort", this.aborted);
      if (signal?.aborted) return this.aborted();
      if (firstByteMs > 0) this.timer = setTimeout(() => this.late(firstByteMs), firstByteMs);
      this.drain();
    });
  }

  data(chunk: Buffer<ArrayBuffer>): void {
    if (this.settle === undefined) return;
    try {
      if (this.refusal === undefined) this.readHeads(chunk);
      else this.readRefusal(chunk);
    } catch (error) {
      this.fail(error instanceof Failure ? error : new Failure("bad_answer", String(error)));
    }
  }

  drain(): void {
    if (this.unsent.length === 0 || this.socket === undefined) return;
    const written = this.socket.write(this.unsent);
    if (written < 0) return this.close(undefined);
    this.unsent = this.unsent.subarray(written);
  }

  end(): void {
    if (this.refusal !== undefined) {
      this.refusal.end();
      this.refuse();
    } else {
      this.fail(new Failure("early_reset", "The upstream closed the connection without answering the upgrade"));
    }
  }

  close(error: Error | undefined): void {
    if (this.refusal !== undefined) {
      this.refusal.cut();
      this.refuse();
    } else {
      this.fail(
        new Failure("early_reset", `The upstream reset the connection before answering: ${error?.message ?? ""}`),
      );
    }
  }

  private readHeads(chunk: Buffer<ArrayBuffer>): void {
    this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
    for (;;) {
      const end = this.headEnd();
      if (end < 0) return;
      const head = readHead(this.received, end);
      const rest = this.received.subarray(end);
      // 100, 103 and their like: the answer comes behind them (RFC 9110 15.2).
      if (head.status < 200 && head.status !== 101) {
        this.received = rest;
        this.headBytes += end;
        this.scanned = 0;
        continue;
      }
      return head.status === 101 ? this.accept(head, rest) : this.startRefusal(head, rest);
    }
  }

  /** @returns where the head at the start of what was received ends, or -1 while it is incomplete. @throws Failure */
  private headEnd(): number {
    const { received } = this;
    const end = findHeadEnd(received, this.scanned);
    if (end < 0 && hasBareLineFeed(received, this.scanned, received.length)) throw badHead("a bare LF");
    if (this.headBytes + (end < 0 ? received.length : end) > upgradeHeadBytesMax)
      throw badHead(`more than ${upgradeHeadBytesMax} bytes`);
    this.scanned = Math.max(0, received.length - 3);
    return end;
  }

  private accept(head: ResponseHead, rest: Buffer<ArrayBuffer>): void {
    const protocol = checkAccepted(head, this.key, this.offered);
    const { settle } = this;
    this.stop();
    const socket = new UpstreamWebSocket(this.socket!, protocol, rest, this.options.streamMs);
    settle?.resolve({ kind: "open", protocol, answer: new HeadAnswer(head, undefined), socket });
  }

  private startRefusal(head: ResponseHead, rest: Buffer): void {
    this.refusal = new Refusal(head);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.close(undefined), webSocketRefusalWaitMs);
    this.readRefusal(rest);
  }

  private readRefusal(chunk: Buffer): void {
    this.refusal!.push(chunk);
    if (this.refusal!.done) this.refuse();
  }

  private refuse(): void {
    const { settle } = this;
    this.stop();
    this.socket?.terminate();
    settle?.resolve({ kind: "refused", answer: this.refusal!.answer() });
  }

  private fail(failure: Failure): void {
    const { settle } = this;
    this.stop();
    this.socket?.terminate();
    settle?.reject(failure);
  }

  private stop(): void {
    this.settle = undefined;
    clearTimeout(this.timer);
    this.options.signal?.removeEventListener("abort", this.aborted);
  }

  private late(firstByteMs: number): void {
    this.fail(new Failure("first_byte_timeout", `The upstream did not answer the upgrade within ${firstByteMs} ms`));
  }

  private readonly aborted = (): void => this.fail(new Failure("client_gone", "the client left during the upgrade"));
}

const limits = { headBytesMax: upgradeHeadBytesMax, linesMax: fieldLinesMax };

/** @throws Failure `bad_answer` */
function readHead(bytes: Buffer, end: number): ResponseHead {
  const head = new ResponseHead();
  // A copy: what came behind the head belongs to others, who give its memory back.
  if (parseResponseHead(head, Buffer.from(bytes.subarray(0, end)), 0, end, limits) !== 0) throw badHead(head.reason);
  // No reply can carry other codes on the engine that needs this client.
  if (head.status > 599) throw badHead(`the status ${head.status}`);
  return head;
}

function badHead(what: string): Failure {
  return new Failure("bad_answer", `Cannot read the upstream's response head: it holds ${what}`);
}

/** The subprotocols the client offers (RFC 6455 11.3.4: one line or several). */
function protocolsOf(fields: readonly FieldLine[]): string[] {
  return fields
    .filter(([name]) => name.toLowerCase() === "sec-websocket-protocol")
    .flatMap(([, value]) => value.split(",").map((name) => name.trim()));
}

const ownFields: ReadonlySet<string> = new Set([
  "host",
  "connection",
  "upgrade",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "content-length",
  "expect",
  "sec-websocket-key",
  "sec-websocket-version",
  // We do not speak permessage-deflate: neither hop may be offered what the other cannot hold.
  "sec-websocket-extensions",
]);

/** RFC 6455 4.1, the client's handshake. */
function requestBytes(options: UpstreamWebSocketOptions, key: string): Uint8Array {
  let text = `GET ${options.target} HTTP/1.1\r\nHost: ${options.host}\r\n`;
  for (const [name, value] of options.fields) {
    if (ownFields.has(name.toLowerCase())) continue;
    if (!isToken(name) || !isWritable(value)) throw unwritable(`field "${name}"`);
    text += `${name}: ${value}\r\n`;
  }
  if (!isWritable(options.host)) throw unwritable("host");
  if (!isWritable(options.target) || /[\t ]/.test(options.target)) throw unwritable("target");
  text += `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;
  return Buffer.from(text, "latin1");
}

/** One byte a character and no control characters: written as latin1, U+010A would turn into a line feed. */
function isWritable(text: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
}

function unwritable(what: string): Failure {
  return new Failure("unsupported", `Cannot send an upgrade to the upstream: its ${what} holds control characters`);
}

/** RFC 6455 4.1, what a client must check. @returns the subprotocol chosen */
function checkAccepted(head: ResponseHead, key: string, offered: readonly string[]): string | undefined {
  const field = (name: string) => head.field(name);
  const wanted = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  if (head.minor !== 1) throw badUpgrade("it is HTTP/1.0, wanted HTTP/1.1");
  if (field("upgrade")?.toLowerCase() !== "websocket") throw badUpgrade("Upgrade is not websocket");
  if (!hasToken(field("connection"), "upgrade")) throw badUpgrade("Connection does not name Upgrade");
  if (field("sec-websocket-accept") !== wanted) throw badUpgrade("Sec-WebSocket-Accept does not fit our key");
  if (field("sec-websocket-extensions") !== undefined) throw badUpgrade("it names an extension, none was offered");
  const protocol = field("sec-websocket-protocol");
  if (protocol !== undefined && !offered.includes(protocol)) {
    throw badUpgrade(`it chose subprotocol "${protocol}", offered were "${offered.join(", ")}"`);
  }
  return protocol;
}

function badUpgrade(what: string): Failure {
  return new Failure("bad_answer", `Cannot take the upstream's 101: ${what}`);
}
