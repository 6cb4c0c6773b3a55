/** WebSocket frames as they arrive: bytes in any split become whole, checked messages (RFC 6455 sections 5 to 8). */
import { mask } from "./websocket-mask.ts";

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export type Bytes = Uint8Array<ArrayBuffer>;

/** What a reader hands out. Bytes are views: valid during the call; who keeps them, copies them. */
export interface FrameSink {
  /** @param bytes length of the text in UTF-8 */
  text(text: string, bytes: number): void;
  binary(data: Bytes): void;
  ping(data: Bytes): void;
  pong(data: Bytes): void;
  /** The sender's last frame. 1005 when it carried no code. */
  closeFrame(code: number, reason: string): void;
}

/** The sender broke the protocol: close the connection with this code. */
export interface FrameFault {
  readonly code: 1002 | 1007 | 1009;
  readonly reason: string;
}

/** RFC 6455 7.4 and the IANA registry: codes that may stand in a close frame; 1005, 1006 and 1015 may not. */
export function isCloseCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999);
}

const headBytesMax = 14;
const controlBytesMax = 125;
const firstBufferBytes = 4096;

export class FrameReader {
  private done = false;
  private fault: FrameFault | undefined;

  private readonly head = new Uint8Array(headBytesMax);
  private headFilled = 0;

  // The frame at hand.
  private inPayload = false;
  private final = false;
  private opcode = 0;
  private left = 0;
  private key = 0;
  private keyTurn = 0;

  // The message at hand: 0 = none, else opcodes.text or opcodes.binary.
  private messageOpcode = 0;
  private message: Bytes | undefined;
  private messageFilled = 0;

  private readonly control = new Uint8Array(controlBytesMax);
  private controlFilled = 0;

  /**
   * @param masked true on the server side: frames of clients must be masked, those of servers must not (5.1)
   * @param messageBytesMax longer messages are answered with fault 1009
   */
  constructor(
    private readonly sink: FrameSink,
    private readonly masked: boolean,
    private readonly messageBytesMax: number,
  ) {}

  /** No further byte is looked at. */
  stop(): void {
    this.done = true;
    this.message = undefined;
  }

  /**
   * Reads the next bytes; calls the sink for all that they complete. Masked payloads are unmasked in place.
   * @returns a fault once; nothing is read after it, or after a close frame
   */
  push(chunk: Bytes): FrameFault | undefined {
    let at = 0;
    // A frame without payload is complete with its head: `left === 0` must be seen even at the end of the chunk.
    while (!this.done && (at < chunk.length || (this.inPayload && this.left === 0))) {
      at = this.inPayload ? this.readPayload(chunk, at) : this.readHead(chunk, at);
    }
    const fault = this.fault;
    this.fault = undefined;
    return fault;
  }

  private fail(code: FrameFault["code"], reason: string): void {
    this.fault = { code, reason };
    this.stop();
  }

  private readHead(chunk: Bytes, at: number): number {
    if (this.headFilled === 0) {
      const length = this.parseHead(chunk, at, chunk.length);
      if (length > 0) return at + length;
    }
    const before = this.headFilled;
    const part = chunk.subarray(at, at + headBytesMax - before);
    this.head.set(part, before);
    const filled = before + part.length;
    const length = this.parseHead(this.head, 0, filled);
    this.headFilled = length > 0 ? 0 : filled;
    return length > 0 ? at + length - before : at + part.length;
  }

  /** @returns bytes of the head, or 0 while it is incomplete */
  private parseHead(bytes: Bytes, at: number, end: number): number {
    if (end - at < 2) return 0;
    const first = bytes[at]!;
    const second = bytes[at + 1]!;
    const short = second & 0x7f;
    const length = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (second & 0x80 ? 4 : 0);
    if (end - at < length) return 0;

    let left = short;
    if (short === 126) left = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    else if (short === 127) left = this.long(bytes, at + 2) * 0x1_0000_0000 + this.long(bytes, at + 6);
    this.final = (first & 0x80) !== 0;
    this.opcode = first & 0x0f;
    this.left = left;
    if (second & 0x80) {
      const k = at + length - 4;
      this.key = bytes[k]! | (bytes[k + 1]! << 8) | (bytes[k + 2]! << 16) | (bytes[k + 3]! << 24);
      this.keyTurn = 0;
    }
    this.check(first, (second & 0x80) !== 0, short);
    this.inPayload = true;
    return length;
  }

  private long(bytes: Bytes, at: number): number {
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  }

  private check(first: number, masked: boolean, short: number): void {
    const { opcode } = this;
    if (first & 0x70) return this.fail(1002, "reserved bit set");
    if (masked !== this.masked) return this.fail(1002, masked ? "masked frame from a server" : "unmasked frame");
    if (opcode >= opcodes.close) {
      if (opcode > opcodes.pong) return this.fail(1002, "unknown opcode");
      if (!this.final) return this.fail(1002, "fragmented control frame");
      if (short > controlBytesMax) return this.fail(1002, "control frame too long");
      this.controlFilled = 0;
      return;
    }
    if (opcode > opcodes.binary) return this.fail(1002, "unknown opcode");
    if (opcode === opcodes.continuation) {
      if (this.messageOpcode === 0) return this.fail(1002, "continuation without a message");
    } else {
      if (this.messageOpcode !== 0) return this.fail(1002, "new message inside a fragmented one");
      this.messageOpcode = opcode;
    }
    // 5.2: the top bit of a 64-bit length is 0; any such length is beyond the limit as well.
    if (this.messageFilled + this.left > this.messageBytesMax) this.fail(1009, "message too big");
  }

  private readPayload(chunk: Bytes, at: number): number {
    const end = Math.min(chunk.length, at + this.left);
    if (this.masked && end > at) {
      mask(chunk, at, end, this.key, this.keyTurn);
      this.keyTurn = (this.keyTurn + end - at) & 3;
    }
    this.left -= end - at;
    const complete = this.left === 0;
    if (complete) this.inPayload = false;

    if (this.opcode >= opcodes.close) {
      this.control.set(chunk.subarray(at, end), this.controlFilled);
      this.controlFilled += end - at;
      if (complete) this.deliverControl(this.control.subarray(0, this.controlFilled));
    } else if (complete && this.final && this.messageFilled === 0) {
      this.deliver(chunk.subarray(at, end));
    } else {
      this.append(chunk, at, end);
      if (complete && this.final) this.deliver((this.message ?? this.control).subarray(0, this.messageFilled));
    }
    return end;
  }

  /** Doubles up to what the message is known to need: a declared length alone reserves nothing. */
  private append(chunk: Bytes, at: number, end: number): void {
    if (end === at) return;
    const need = this.messageFilled + end - at;
    const have = this.message?.length ?? 0;
    if (need > have) {
      const most = this.final ? need + this.left : this.messageBytesMax;
      const grown = new Uint8Array(Math.min(most, Math.max(need, have * 2, firstBufferBytes)));
      if (this.message !== undefined) grown.set(this.message.subarray(0, this.messageFilled));
      this.message = grown;
    }
    this.message!.set(chunk.subarray(at, end), this.messageFilled);
    this.messageFilled = need;
  }

  private deliver(data: Bytes): void {
    const isText = this.messageOpcode === opcodes.text;
    this.messageOpcode = 0;
    this.message = undefined;
    this.messageFilled = 0;
    if (!isText) return this.sink.binary(data);
    const text = textOf(data);
    if (text === undefined) return this.fail(1007, "text is not UTF-8");
    this.sink.text(text, data.length);
  }

  private deliverControl(data: Bytes): void {
    if (this.opcode === opcodes.ping) return this.sink.ping(data);
    if (this.opcode === opcodes.pong) return this.sink.pong(data);
    if (data.length === 0) {
      this.stop();
      return this.sink.closeFrame(1005, "");
    }
    if (data.length === 1) return this.fail(1002, "close frame with half a code");
    const code = (data[0]! << 8) | data[1]!;
    if (!isCloseCode(code)) return this.fail(1002, "close code not allowed");
    const reason = textOf(data.subarray(2));
    if (reason === undefined) return this.fail(1007, "close reason is not UTF-8");
    this.stop();
    this.sink.closeFrame(code, reason);
  }
}

// ignoreBOM keeps a leading U+FEFF, which is the sender's. Faster than isUtf8 and toString: 160 against 240 ns for 64 bytes.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(data: Bytes): string | undefined {
  try {
    return decoder.decode(data);
  } catch {
    return undefined;
  }
}
