import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { type Bytes, type FrameFault, FrameReader, isCloseCode } from "../../../src/data/wire/websocket-frames.ts";
import { mask, maskKey } from "../../../src/data/wire/websocket-mask.ts";
import { FrameWriter } from "../../../src/data/wire/websocket-writer.ts";

type Seen = [what: string, ...about: unknown[]];

function read(
  chunks: Uint8Array[],
  { masked = false, bytesMax = 1 << 20 } = {},
): { seen: Seen[]; faults: FrameFault[] } {
  const seen: Seen[] = [];
  const faults: FrameFault[] = [];
  const reader = new FrameReader(
    {
      text: (text, bytes) => seen.push(["text", text, bytes]),
      binary: (data) => seen.push(["binary", Buffer.from(data).toString("hex")]),
      ping: (data) => seen.push(["ping", Buffer.from(data).toString()]),
      pong: (data) => seen.push(["pong", Buffer.from(data).toString()]),
      closeFrame: (code, reason) => seen.push(["close", code, reason]),
    },
    masked,
    bytesMax,
  );
  for (const chunk of chunks) {
    const fault = reader.push(new Uint8Array(chunk));
    if (fault !== undefined) faults.push(fault);
  }
  return { seen, faults };
}

function frame(first: number, payload: Uint8Array | string): Uint8Array {
  const data = Buffer.from(payload);
  if (data.length < 126) return Buffer.concat([Buffer.from([first, data.length]), data]);
  if (data.length < 65_536)
    return Buffer.concat([Buffer.from([first, 126, data.length >> 8, data.length & 255]), data]);
  const head = Buffer.alloc(10);
  head[0] = first;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(data.length), 2);
  return Buffer.concat([head, data]);
}

/** Repeatable, so that a failure can be had again. */
function random(seed: number): (below: number) => number {
  return (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
}

const fin = 0x80;

describe("reading frames", () => {
  test("messages and control frames come out the same however the bytes are split", () => {
    const next = random(7);
    const stream = Buffer.concat([
      frame(fin | 1, "hello"),
      frame(fin | 1, ""),
      frame(fin | 2, Buffer.alloc(0)),
      frame(1, "hé".repeat(3)),
      frame(fin | 9, "are you there"),
      frame(0, ""),
      frame(0, Buffer.from("ä").subarray(0, 1)),
      frame(fin | 10, ""),
      frame(fin | 0, Buffer.from("ä").subarray(1)),
      frame(fin | 2, Buffer.alloc(126, 1)),
      frame(2, Buffer.alloc(65_535, 2)),
      frame(fin | 0, Buffer.alloc(65_536, 3)),
      frame(fin | 1, "\ufeffwith a mark"),
      frame(fin | 8, Buffer.concat([Buffer.from([0x0f, 0xa1]), Buffer.from("bye ✓")])),
    ]);
    const whole = read([stream]);
    expect(whole.faults).toEqual([]);
    expect(whole.seen.map(([what]) => what).join(" ")).toBe("text text binary ping pong text binary binary text close");
    expect(whole.seen[5]).toEqual(["text", "héhéhéä", 11]);
    expect(whole.seen[8]).toEqual(["text", "\ufeffwith a mark", 14]);
    expect(whole.seen.at(-1)).toEqual(["close", 4001, "bye ✓"]);
    for (let round = 0; round < 300; round++) {
      const most = [2, 5, 20, 3000, 100_000][round % 5]!;
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < stream.length;) {
        const length = 1 + next(most);
        chunks.push(stream.subarray(at, at + length));
        at += length;
      }
      if (most > 5 || round < 10) expect(read(chunks)).toEqual(whole);
    }
  });

  test("what a writer masks, a reader on the server side reads back, in any split", () => {
    const next = random(11);
    for (let round = 0; round < 200; round++) {
      const out: Uint8Array[] = [];
      const writer = new FrameWriter(
        { write: (bytes, at, length) => (out.push(bytes.slice(at, at + length)), length) },
        true,
      );
      const wanted: Seen[] = [];
      for (let i = 0; i < 5; i++) {
        const size = next([10, 200, 70_000, 200_000][next(4)]!);
        const data = new Uint8Array(size).map(() => next(256));
        writer.binary(data.slice());
        wanted.push(["binary", Buffer.from(data).toString("hex")]);
        const text = "aé✓😀".repeat(next(50));
        writer.text(text);
        wanted.push(["text", text, Buffer.byteLength(text)]);
      }
      writer.close(1000, "x".repeat(130) + "é");
      wanted.push(["close", 1000, "x".repeat(123)]);
      const bytes = Buffer.concat(out);
      const cut = next(bytes.length);
      expect(read([bytes.subarray(0, cut), bytes.subarray(cut)], { masked: true })).toEqual({
        seen: wanted,
        faults: [],
      });
    }
  });

  test.each<[string, Uint8Array[], number]>([
    ["a reserved bit", [frame(fin | 0x40 | 1, "x")], 1002],
    ["an unknown data opcode", [frame(fin | 3, "x")], 1002],
    ["an unknown control opcode", [frame(fin | 11, "x")], 1002],
    ["a masked frame from a server", [Buffer.from([fin | 1, 0x81, 1, 2, 3, 4, 5])], 1002],
    ["a control frame over 125 bytes", [frame(fin | 9, Buffer.alloc(126))], 1002],
    ["a fragmented ping", [frame(9, "x")], 1002],
    ["a continuation without a start", [frame(fin | 0, "x")], 1002],
    ["a new message inside a fragmented one", [frame(1, "x"), frame(fin | 1, "y")], 1002],
    ["a close frame of one byte", [frame(fin | 8, "x")], 1002],
    ["close code 1005 on the wire", [frame(fin | 8, Buffer.from([0x03, 0xed]))], 1002],
    ["close code 1006 on the wire", [frame(fin | 8, Buffer.from([0x03, 0xee]))], 1002],
    ["close code 999", [frame(fin | 8, Buffer.from([0x03, 0xe7]))], 1002],
    ["close code 2999", [frame(fin | 8, Buffer.from([0x0b, 0xb7]))], 1002],
    ["text that is not UTF-8", [frame(fin | 1, Buffer.from([0xc3, 0x28]))], 1007],
    ["text cut inside a character", [frame(fin | 1, Buffer.from("ä").subarray(0, 1))], 1007],
    ["a surrogate in UTF-8", [frame(fin | 1, Buffer.from([0xed, 0xa0, 0x80]))], 1007],
    ["a close reason that is not UTF-8", [frame(fin | 8, Buffer.from([3, 0xe8, 0xff]))], 1007],
    ["a message over the limit", [frame(fin | 2, Buffer.alloc(1001))], 1009],
    ["fragments that add up over the limit", [frame(2, Buffer.alloc(600)), frame(fin | 0, Buffer.alloc(600))], 1009],
    ["a length of 2^63", [Buffer.from([fin | 2, 127, 0x80, 0, 0, 0, 0, 0, 0, 0])], 1009],
  ])("%s is refused with its close code", (_, chunks, code) => {
    const { seen, faults } = read([...chunks, frame(fin | 1, "after the fault")], { bytesMax: 1000 });
    expect(faults.map((fault) => fault.code as number)).toEqual([code]);
    expect(seen).toEqual([]);
  });

  test("an unmasked frame from a client is refused", () => {
    expect(read([frame(fin | 1, "x")], { masked: true }).faults[0]?.code).toBe(1002);
  });

  test("a message of exactly the limit passes", () => {
    expect(read([frame(fin | 2, Buffer.alloc(1000))], { bytesMax: 1000 }).faults).toEqual([]);
  });

  test("a too long message is refused by its head, before its bytes come", () => {
    expect(read([frame(fin | 2, Buffer.alloc(1001)).subarray(0, 4)], { bytesMax: 1000 }).faults[0]?.code).toBe(1009);
  });

  test("nothing is read after a close frame", () => {
    expect(read([Buffer.concat([frame(fin | 8, ""), frame(fin | 1, "late")])]).seen).toEqual([["close", 1005, ""]]);
  });

  test("codes that no close frame may carry are known", () => {
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000]) expect(isCloseCode(code)).toBe(false);
    for (const code of [1000, 1003, 1007, 1014, 3000, 4999]) expect(isCloseCode(code)).toBe(true);
  });
});

describe("masking", () => {
  test("words give what bytes would, at every alignment, length and turn", () => {
    const next = random(3);
    for (let round = 0; round < 2000; round++) {
      const shift = next(9);
      const store = new Uint8Array(shift + 200).map(() => next(256));
      const bytes = store.subarray(shift);
      const original = bytes.slice();
      const [start, turn, key] = [next(20), next(4), maskKey()];
      const end = start + next(180);
      const keyBytes = [key & 255, (key >>> 8) & 255, (key >>> 16) & 255, key >>> 24];
      const wanted = bytes.map((byte, i) => (i < start || i >= end ? byte : byte ^ keyBytes[(i - start + turn) & 3]!));
      mask(bytes, start, end, key, turn);
      expect(Buffer.from(bytes).equals(Buffer.from(wanted))).toBe(true);
      mask(bytes, start, end, key, turn);
      expect(bytes).toEqual(original);
    }
  });

  test("keys do not repeat within one batch and the next", () => {
    const keys = new Set(Array.from({ length: 3000 }, maskKey));
    expect(keys.size).toBeGreaterThan(2990);
  });
});

describe("writing to a slow socket", () => {
  test("what the socket does not take is kept in order and finished on its drains", () => {
    const next = random(5);
    for (let round = 0; round < 50; round++) {
      const out: Uint8Array[] = [];
      // Takes little, or nothing, or says it is closed for the moment.
      const take = (bytes: Uint8Array, at: number, length: number) => {
        const part = Math.min(length, next(round % 2 === 0 ? 40 : 30_000));
        if (part === 0) return next(2) - 1;
        out.push(bytes.slice(at, at + part));
        return part;
      };
      const writer = new FrameWriter({ write: take }, round % 3 !== 0);
      const wanted: Seen[] = [];
      for (let i = 0; i < 20; i++) {
        const data: Bytes = new Uint8Array(next(i === 7 ? 100_000 : 300)).fill(i);
        writer.binary(data);
        wanted.push(["binary", Buffer.from(data).toString("hex")]);
        writer.ping(Buffer.from(`${i}`));
        wanted.push(["ping", `${i}`]);
        if (next(3) === 0) writer.flush();
      }
      let turns = 0;
      while (writer.queuedBytes > 0 && turns++ < 1_000_000) writer.flush();
      expect(read(out, { masked: round % 3 !== 0 })).toEqual({ seen: wanted, faults: [] });
    }
  });

  test("a queue of many tiny frames costs about their bytes, not an object each", () => {
    const writer = new FrameWriter({ write: () => 0 }, true);
    Bun.gc(true);
    const before = heapStats().objectCount;
    for (let i = 0; i < 500_000; i++) writer.text("x");
    expect(writer.queuedBytes).toBe(500_000 * 7);
    Bun.gc(true);
    expect(heapStats().objectCount - before).toBeLessThan(20_000);
  });

  test("a close code that may not be sent becomes a close frame without a code", () => {
    for (const code of [1005, 1006, 1015, 0]) {
      const out: Uint8Array[] = [];
      new FrameWriter({ write: (bytes, at, length) => (out.push(bytes.slice(at, at + length)), length) }, false).close(
        code,
        "why",
      );
      expect(read(out).seen).toEqual([["close", 1005, ""]]);
    }
  });
});
