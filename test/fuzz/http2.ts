/** Fuzzes the HTTP/2 engine: recorded conversations with frames changed, dropped, doubled, cut and split at random. */
import { FieldList } from "../../src/data/wire/http2/field-list.ts";
import { Http2Connection, type Http2Owner } from "../../src/data/wire/http2/connection.ts";
import { HpackEncoder } from "../../src/data/wire/http2/hpack-encoder.ts";
import { IncomingBody } from "../../src/data/wire/http2/incoming-body.ts";
import * as h2 from "../../src/data/wire/http2/protocol.ts";
import { RequestFields } from "../../src/data/wire/http2/request-fields.ts";
import { readResponse } from "../../src/data/wire/http2/response-fields.ts";
import type { Stream, StreamUser } from "../../src/data/wire/http2/stream.ts";
import type { Transport } from "../../src/data/wire/transport.ts";
import { frame, get, post, settings, uint32, type Lines } from "../support/http2-peer.ts";
import { randomOf, split, type Random } from "./mutate.ts";

export interface Http2Tally {
  inputs: number;
  /** messages that were taken for whole */
  messages: number;
  /** connections that ended with an error, by its code */
  readonly errors: Map<string, number>;
  readonly findings: { index: number; what: string }[];
}

export function newHttp2Tally(): Http2Tally {
  return { inputs: 0, messages: 0, errors: new Map(), findings: [] };
}

/** What one conversation came to: equal however its bytes were split. */
interface Outcome {
  readonly events: string[];
  messages: number;
  error: string;
}

/** One conversation, whole and in pieces: no exception, no message beyond its bounds, the same outcome both times. */
export function fuzzHttp2(seed: number, index: number, tally: Http2Tally): void {
  const random = randomOf(seed, index);
  const role = random(3) === 0 ? "client" : "server";
  const frames = mutateFrames(random, conversation(random, role));
  const bytes = Buffer.concat([role === "server" ? h2.preface : Buffer.alloc(0), ...frames]);
  const cut = random(6) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
  tally.inputs++;
  try {
    const whole = run(role, [cut]);
    const pieces = run(role, split(random, cut));
    if (whole.events.join("\n") !== pieces.events.join("\n"))
      tally.findings.push({ index, what: `split differently: ${whole.events.join()} / ${pieces.events.join()}` });
    tally.messages += whole.messages;
    if (whole.error !== "") tally.errors.set(whole.error, (tally.errors.get(whole.error) ?? 0) + 1);
  } catch (error) {
    tally.findings.push({ index, what: `${(error as Error).stack}` });
  }
}

class Sink implements Transport {
  readonly written: Buffer[] = [];
  write(data: Uint8Array, offset = 0, length = data.length - offset): number {
    this.written.push(Buffer.from(data.subarray(offset, offset + length)));
    return length;
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  shutdown(): void {}
  terminate(): void {}
}

function run(role: "server" | "client", pieces: readonly Buffer[]): Outcome {
  const outcome: Outcome = { events: [], messages: 0, error: "" };
  const fields = new RequestFields();
  const sink = new Sink();
  const user = (stream: Stream, due: number): StreamUser => {
    let body: IncomingBody | undefined;
    const begin = () => {
      body = new IncomingBody(stream, due, () => {});
      let bytes = 0;
      body.start({
        write: (chunk) => ((bytes += chunk.length), true),
        end: (trailers) => {
          outcome.messages++;
          outcome.events.push(`${stream.id} whole ${bytes} ${JSON.stringify(trailers ?? [])}`);
        },
        fail: () => {},
      });
    };
    if (role === "server") begin();
    return {
      answered(list) {
        const head = readResponse(list);
        if (typeof head === "string") return stream.connection.refuseStream(stream, h2.PROTOCOL_ERROR, head);
        check(head.lines, head.count, head.bytes);
        outcome.events.push(`${stream.id} ${head.status} ${head.count}`);
        if (head.status < 200) return;
        stream.headSeen = true;
        stream.lengthDue = head.contentLength;
        begin();
      },
      data: (bytes, start, end) => body!.push(bytes, start, end),
      ended: (trailers) => body?.end(trailers),
      gone: (code, byPeer) => outcome.events.push(`${stream.id} gone ${code} ${byPeer}`),
      writable() {},
      sweep() {},
    };
  };
  const owner: Http2Owner = {
    role,
    listBytesMax: 4_096,
    timeouts: () => ({ headerMs: 0, writeMs: 0, idleMs: 0 }),
    request(stream, list: FieldList, ended) {
      const status = fields.read(list);
      outcome.events.push(`${stream.id} request ${status} ${ended}`);
      stream.user = user(stream, fields.contentLength);
      if (status !== 0)
        return (stream.connection.refuseStream(stream, h2.PROTOCOL_ERROR, fields.reason), stream.finish());
      const head = fields.head();
      check(head.lines, head.count, head.bytes);
      stream.lengthDue = fields.contentLength;
      if (ended) outcome.messages++;
    },
    settled() {},
    leaving() {},
    idle() {},
    closed() {},
  };
  const connection = new Http2Connection(sink, owner, []);
  if (role === "client") {
    for (let i = 0; i < 3; i++) {
      const stream = connection.open();
      stream.user = user(stream, -1);
      connection.encoder.begin();
      for (const [name, value] of get) connection.encoder.text(name, value);
      stream.sendHead(true);
    }
  }
  for (const piece of pieces) connection.data(Buffer.from(piece));
  connection.turnEnded();
  const last = Buffer.concat(sink.written);
  outcome.error = errorIn(last.subarray(role === "client" ? h2.preface.length : 0));
  outcome.events.push(outcome.error);
  connection.cut("the test is over");
  if (connection.queuedBytes.bytes !== 0) throw new Error(`${connection.queuedBytes.bytes} bytes are still counted`);
  return outcome;
}

/** What goes on as HTTP/1.1 must be lines of one field each. */
function check(lines: Int32Array, count: number, bytes: Buffer): void {
  for (let i = 0; i < count; i++) {
    const line = bytes.toString("latin1", lines[i * 4]!, lines[i * 4 + 3]!);
    // eslint-disable-next-line no-control-regex
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+: [\x09\x20-\x7e\x80-\xff]*$/.test(line))
      throw new Error(`a line ${JSON.stringify(line)}`);
    if (bytes.toString("latin1", lines[i * 4 + 3]!, lines[i * 4 + 3]! + 2) !== "\r\n")
      throw new Error("a line without its end");
  }
}

/** The code of the GOAWAY among the frames that we wrote, "" without; and whether those are frames at all. */
function errorIn(bytes: Buffer): string {
  let code = "";
  let at = 0;
  for (; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === h2.GOAWAY && bytes.readUInt32BE(at + 13) !== 0)
      code = h2.errorName(bytes.readUInt32BE(at + 13));
  }
  if (at !== bytes.length) throw new Error("what we wrote does not end with a frame");
  return code;
}

const answer: Lines = [
  [":status", "200"],
  ["content-type", "text/plain"],
];

/** A conversation that is right, as one side of it. */
function conversation(random: Random, role: "server" | "client"): Buffer[] {
  const encoder = new HpackEncoder();
  const block = (lines: Lines) => {
    encoder.begin();
    for (const [name, value] of lines) encoder.text(name, value);
    return Buffer.from(encoder.bytes.subarray(0, encoder.length));
  };
  const frames = [settings([h2.INITIAL_WINDOW_SIZE, 1_000 * random(100)]), frame(h2.SETTINGS, h2.ACK, 0)];
  for (let stream = 1; stream <= 5; stream += 2) {
    const body = Buffer.alloc(random(50), "b");
    const lengthLine: Lines = random(2) ? [["content-length", String(body.length)]] : [];
    const head = [
      ...(role === "client" ? answer : random(2) ? get : post),
      ["x-turn", String(stream)] as const,
      ...lengthLine,
    ];
    const whole = block(head);
    const cut = random(whole.length);
    if (random(2)) frames.push(frame(h2.HEADERS, h2.END_HEADERS, stream, whole));
    else {
      frames.push(frame(h2.HEADERS, 0, stream, whole.subarray(0, cut)));
      frames.push(frame(h2.CONTINUATION, h2.END_HEADERS, stream, whole.subarray(cut)));
    }
    const padding = random(5);
    frames.push(
      frame(h2.DATA, h2.PADDED, stream, Buffer.concat([Buffer.from([padding]), body, Buffer.alloc(padding)])),
    );
    if (random(2)) frames.push(frame(h2.DATA, h2.END_STREAM, stream));
    else frames.push(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, block([["x-sum", "1"]])));
    if (random(3) === 0) frames.push(frame(h2.WINDOW_UPDATE, 0, random(2) ? 0 : stream, uint32(random(1_000))));
    if (random(3) === 0) frames.push(frame(h2.PING, random(2), 0, Buffer.alloc(8)));
    if (random(5) === 0) frames.push(frame(h2.RST_STREAM, 0, stream, uint32(random(14))));
  }
  if (random(4) === 0) frames.push(frame(h2.GOAWAY, 0, 0, Buffer.concat([uint32(random(6)), uint32(0)])));
  return frames;
}

function mutateFrames(random: Random, frames: Buffer[]): Buffer[] {
  for (let changes = random(4); changes > 0; changes--) {
    const at = random(frames.length);
    const chosen = Buffer.from(frames[at]!);
    switch (random(8)) {
      case 0:
        frames.splice(at, 1);
        break;
      case 1:
        frames.splice(random(frames.length), 0, chosen);
        break;
      case 2:
        chosen[random(chosen.length)] = random(256);
        frames[at] = chosen;
        break;
      case 3:
        chosen[3] = random(11);
        frames[at] = chosen;
        break;
      case 4:
        chosen[4] = chosen[4]! ^ (1 << random(8));
        frames[at] = chosen;
        break;
      case 5:
        chosen.writeUInt32BE(random(8), 5);
        frames[at] = chosen;
        break;
      case 6:
        if (chosen.length > 9) chosen[9 + random(chosen.length - 9)] = random(256);
        frames[at] = chosen;
        break;
      default:
        frames.splice(at, 0, frame(random(12), random(256), random(8), Buffer.alloc(random(20), random(256))));
    }
    if (frames.length === 0) break;
  }
  return frames;
}
