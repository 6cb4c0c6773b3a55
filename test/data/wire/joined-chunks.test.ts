/** Many small chunks of one read go on as one piece, in order, whatever the split; large ones go on uncopied. */
import { expect, test } from "bun:test";
import { joinedChunkBytesMax } from "../../../src/lib/limits.ts";
import { ChunkedReader } from "../../../src/data/wire/chunked.ts";
import { feedJoined } from "../../../src/data/wire/joined-chunks.ts";

const chunk = (data: string) => `${data.length.toString(16)}\r\n${data}\r\n`;

/** Feeds bytes split at these places. @returns the pieces that came out, copied as they came */
function read(text: string, splits: readonly number[] = []) {
  const bytes = Buffer.from(text, "latin1");
  const reader = new ChunkedReader();
  const pieces: string[] = [];
  let from = 0;
  for (const to of [...splits, bytes.length]) {
    const piece = Buffer.from(bytes.subarray(from, to));
    const end = feedJoined(reader, piece, 0, piece.length, {
      data: (data) => (pieces.push(data.toString("latin1")), true),
    });
    // Where a mistake is, what `feed` returns has no meaning.
    if (reader.error === "") expect(end).toBe(piece.length);
    from = to;
  }
  return { pieces, reader };
}

test("ten thousand chunks of a byte are one piece", () => {
  const { pieces, reader } = read(chunk("x").repeat(10_000) + "0\r\nT: 1\r\n\r\n");
  expect(pieces).toEqual(["x".repeat(10_000)]);
  expect(reader.done).toBe(true);
  expect(reader.trailers).toEqual([["T", "1"]]);
});

test("one chunk goes on as it lies there, without a copy", () => {
  for (const size of [1, joinedChunkBytesMax, joinedChunkBytesMax + 1, 100_000]) {
    const bytes = Buffer.from(`${chunk("y".repeat(size))}0\r\n\r\n`, "latin1");
    const seen: Buffer[] = [];
    feedJoined(new ChunkedReader(), bytes, 0, bytes.length, { data: (data) => seen.push(data) > 0 });
    expect(seen.map((data) => data.length)).toEqual([size]);
    expect(seen[0]!.buffer).toBe(bytes.buffer);
  }
});

test("every split gives the same bytes", () => {
  const data = ["a", "bc", "d".repeat(joinedChunkBytesMax + 1), "e", "f".repeat(5_000), "ghi"];
  const text = `${data.map(chunk).join("")}0\r\n\r\n`;
  for (let at = 1; at < text.length; at += 37) {
    const { pieces, reader } = read(text, [at, Math.min(text.length, at + 11)]);
    expect(pieces.join("")).toBe(data.join(""));
    expect(reader.done).toBe(true);
  }
});

test("what is kept holds no more memory than twice its size", () => {
  const bytes = Buffer.from(`${chunk("z").repeat(50_000)}0\r\n\r\n`, "latin1");
  let kept: Buffer = Buffer.alloc(0);
  feedJoined(new ChunkedReader(), bytes, 0, bytes.length, { data: (data) => ((kept = data), true) });
  expect(kept.length).toBe(50_000);
  expect(kept.buffer.byteLength).toBeLessThanOrEqual(100_000);
});

test("a sink that pauses at a large chunk gets no more, and the rest later", () => {
  const big = "b".repeat(joinedChunkBytesMax + 1);
  const bytes = Buffer.from(`${chunk(big)}${chunk("rest")}0\r\n\r\n`, "latin1");
  const reader = new ChunkedReader();
  const seen: string[] = [];
  const sink = { data: (data: Buffer) => (seen.push(data.toString("latin1")), false) };
  const at = feedJoined(reader, bytes, 0, bytes.length, sink);
  expect(seen).toEqual([big]);
  expect(feedJoined(reader, bytes, at, bytes.length, sink)).toBe(bytes.length);
  expect(seen).toEqual([big, "rest"]);
  expect(reader.done).toBe(true);
});

test("what came before a mistake goes on, and the mistake is told", () => {
  const { pieces, reader } = read(`${chunk("a")}${chunk("b")}zz\r\n`);
  expect(pieces).toEqual(["ab"]);
  expect(reader.error).not.toBe("");
});
