import { describe, expect, test } from "bun:test";
import { chunkExtensionBytesMax, trailerBytesMax, trailerLinesMax } from "../../../../src/lib/limits.ts";
import { ChunkedReader } from "../../../../src/data/wire/chunked.ts";

interface Read {
  data: string;
  trailers: string[];
  used: number;
  done: boolean;
  error: string;
}

/** @param size of the pieces it arrives in */
function read(text: string, size = text.length): Read {
  const reader = new ChunkedReader();
  const bytes = Buffer.from(text, "latin1");
  let data = "";
  let used = 0;
  for (let at = 0; at < bytes.length && !reader.done && reader.error === ""; at += size) {
    const piece = bytes.subarray(at, at + size);
    used += reader.feed(piece, 0, piece.length, { data: (slice) => ((data += slice.toString("latin1")), true) });
  }
  const trailers = reader.trailers.map(([name, value]) => `${name}=${value}`);
  return { data, trailers, used, done: reader.done, error: reader.error };
}

describe("a chunked body", () => {
  const text = 'a\r\n0123456789\r\n05;sig=abc;q="a\\"b";flag\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Two:\t2 \r\n\r\n';

  test("ends behind its trailers, whatever follows", () => {
    const expected = {
      data: "0123456789hello",
      trailers: ["X-Sum=1", "X-Two=2"],
      used: text.length,
      done: true,
      error: "",
    };
    expect(read(`${text}GET / HTTP/1.1\r\n\r\n`)).toEqual(expected);
    for (const size of [1, 2, 3, 7]) expect(read(text, size)).toEqual(expected);
  });

  test("without trailers ends behind its empty line", () => {
    expect(read("1\r\nx\r\n0\r\n\r\n\r\n")).toMatchObject({ data: "x", used: 11, done: true });
    expect(read("0000\r\n\r\n", 1)).toMatchObject({ data: "", used: 8, done: true });
  });

  test("hands its data on as slices of what came, not as copies", () => {
    const bytes = Buffer.from("5\r\nhello\r\n0\r\n\r\n");
    let slice: Buffer | undefined;
    new ChunkedReader().feed(bytes, 0, bytes.length, { data: (data) => ((slice = data), true) });
    expect(slice!.buffer).toBe(bytes.buffer);
    expect(slice!.byteOffset).toBe(bytes.byteOffset + 3);
  });

  test("stops behind the data at which its sink pauses, and goes on from there", () => {
    const bytes = Buffer.from("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    const reader = new ChunkedReader();
    const seen: string[] = [];
    const sink = { data: (data: Buffer) => (seen.push(data.toString()), false) };
    let at = reader.feed(bytes, 0, bytes.length, sink);
    expect([at, seen]).toEqual([8, ["hello"]]);
    at = reader.feed(bytes, at, bytes.length, sink);
    expect([at, seen]).toEqual([19, ["hello", " world"]]);
    at = reader.feed(bytes, at, bytes.length, sink);
    expect([at, reader.done]).toEqual([bytes.length, true]);
  });

  test("reads only what it is given", () => {
    const bytes = Buffer.from("0\r\nX: y\r\n\r\n");
    const reader = new ChunkedReader();
    expect(reader.feed(bytes, 0, 9, { data: () => true })).toBe(9);
    expect(reader.done).toBe(false);
    expect(reader.feed(bytes, 9, bytes.length, { data: () => true })).toBe(bytes.length);
    expect(reader.trailers).toEqual([["X", "y"]]);
  });
});

describe("a chunked body that is refused", () => {
  test.each([
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5g\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\r\nhello\rX0\r\n\r\n",
    "0000000000000005\r\nhello\r\n0\r\n\r\n",
    "20000000000000\r\n",
    "fffffffffffffffff\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5; a\r\nhello\r\n0\r\n\r\n",
    "5 ;a\r\nhello\r\n0\r\n\r\n",
    "5;a=\r\nhello\r\n0\r\n\r\n",
    "5;=b\r\nhello\r\n0\r\n\r\n",
    '5;a="b\r\nhello\r\n0\r\n\r\n',
    '5;a="b"c\r\nhello\r\n0\r\n\r\n',
    '5;a="b c"\r\nhello\r\n0\r\n\r\n',
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5;a\0\r\nhello\r\n0\r\n\r\n",
    "0\r\n\n",
    "0\r\n\r\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\n X: y\r\n\r\n",
    "0\r\nX: y\r\n z\r\n\r\n",
    "0\r\nno colon\r\n\r\n",
    "0\r\nX: a\0b\r\n\r\n",
  ])("%j", (text) => {
    for (const size of [text.length, 1]) {
      const { done, error } = read(text, size);
      expect({ size, done }).toEqual({ size, done: false });
      expect(error).not.toBe("");
    }
  });

  test("for extensions without end", () => {
    const chunk = `1;${"a".repeat(999)}\r\nx\r\n`;
    const fits = Math.floor(chunkExtensionBytesMax / 1_000);
    expect(read(`${chunk.repeat(fits)}0\r\n\r\n`).done).toBe(true);
    expect(read(`${chunk.repeat(fits + 1)}0\r\n\r\n`).error).toBe("too many bytes of chunk extensions");
    expect(read(`1;a="${"b".repeat(chunkExtensionBytesMax)}`, 100).error).toBe("too many bytes of chunk extensions");
  });

  test("for too long trailers, however they arrive", () => {
    const value = "a".repeat(trailerBytesMax - "X: \r\n\r\n".length);
    for (const size of [1 << 20, 1_000, 1]) {
      expect(read(`0\r\nX: ${value}\r\n\r\n`, size).done).toBe(true);
      expect(read(`0\r\nX: ${value}a\r\n\r\n`, size).error).not.toBe("");
      expect(read(`0\r\nX: ${value}${value}`, size).error).toBe("trailers that are too long");
    }
    expect(read(`0\r\n${"X: y\r\n".repeat(trailerLinesMax)}\r\n`).done).toBe(true);
    expect(read(`0\r\n${"X: y\r\n".repeat(trailerLinesMax + 1)}\r\n`).error).not.toBe("");
  });
});
