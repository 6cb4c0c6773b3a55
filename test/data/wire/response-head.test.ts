import { describe, expect, test } from "bun:test";
import { Failure } from "../../../src/data/failure.ts";
import { fieldOf, findHeadEnd, parseResponseHead } from "../../../src/data/wire/response-head.ts";

function parse(text: string) {
  const bytes = Buffer.from(text, "latin1");
  const end = findHeadEnd(bytes, 0, bytes.length);
  return end === -1 ? undefined : parseResponseHead(bytes.subarray(0, end));
}

describe("an upstream's response head", () => {
  test("is read with its fields in order, values stripped of blanks only", () => {
    const head = parse(
      "HTTP/1.1 101 Switching Protocols\r\nA: 1\r\nset-cookie: x=1\r\nSet-Cookie:\t y=2 \t\r\nB:\r\nC: \xa0z\xa0\r\n\r\nrest",
    )!;
    expect(head.status).toBe(101);
    expect(head.reason).toBe("Switching Protocols");
    expect(head.lines).toEqual([
      ["A", "1"],
      ["set-cookie", "x=1"],
      ["Set-Cookie", "y=2"],
      ["B", ""],
      ["C", "\xa0z\xa0"],
    ]);
    expect(fieldOf(head.lines, "set-cookie")).toBe("x=1, y=2");
    expect(fieldOf(head.lines, "nothing")).toBeUndefined();
  });

  test("may lack a reason", () => {
    expect(parse("HTTP/1.1 404 \r\n\r\n")!.reason).toBe("");
    expect(parse("HTTP/1.0 404\r\n\r\n")!.version).toBe("HTTP/1.0");
  });

  test("ends at the same place however it drips in", () => {
    const bytes = Buffer.from("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n");
    for (let first = 0; first < 26; first++) {
      const early = findHeadEnd(bytes, 0, first);
      expect(early === -1 ? findHeadEnd(bytes, first, bytes.length) : early).toBe(25);
    }
  });

  test.each([
    ["a bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
    ["a bare LF at the end", "HTTP/1.1 200 OK\r\nA: b\r\n\n"],
    ["a bare CR", "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
    ["a blank before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n"],
    ["a line without a colon", "HTTP/1.1 200 OK\r\nA\r\n\r\n"],
    ["an empty name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n"],
    ["a name with a bracket", "HTTP/1.1 200 OK\r\nA[]: b\r\n\r\n"],
    ["a control character in a value", "HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status of 600", "HTTP/1.1 600 OK\r\n\r\n"],
    ["another protocol", "ICY 200 OK\r\n\r\n"],
    ["another version", "HTTP/2 200 OK\r\n\r\n"],
    ["two blanks", "HTTP/1.1  200 OK\r\n\r\n"],
    ["no status line", "\r\n\r\n"],
  ])("with %s is refused", (_, text) => {
    expect(() => parse(text)).toThrow(Failure);
  });

  test("is refused at the first bad byte, not only when it is complete", () => {
    expect(() => parse("HTTP/1.1 200 OK\nA")).toThrow(/bare LF/);
  });
});
