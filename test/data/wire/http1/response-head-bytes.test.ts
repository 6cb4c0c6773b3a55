import { describe, expect, test } from "bun:test";
import { parseResponseHead, ResponseHead } from "../../../../src/data/wire/response-head-bytes.ts";

const limits = { headBytesMax: 2_000, linesMax: 50 };
const head = new ResponseHead();

function parse(text: string): number {
  const bytes = Buffer.from(text, "latin1");
  return parseResponseHead(head, bytes, 0, bytes.length, limits);
}

function withLines(status: number, ...lines: string[]): number {
  return parse([`HTTP/1.1 ${status} X`, ...lines, "", ""].join("\r\n"));
}

describe("an answer that is read", () => {
  test("keeps its status, reason and lines", () => {
    expect(parse("HTTP/1.1 299 Gro\xdf und\tsch\xf6n\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n")).toBe(0);
    expect(head).toMatchObject({ status: 299, minor: 1, count: 2, contentLength: -1, chunked: false, keepAlive: true });
    expect(head.reasonPhrase()).toBe("Gro\xdf und\tsch\xf6n");
    expect(head.bytes.toString("latin1", head.reasonStart, head.reasonEnd)).toBe("Gro\xdf und\tsch\xf6n");
    const lines: string[] = [];
    head.each((name, value) => lines.push(`${name}=${value}`));
    expect(lines).toEqual(["Set-Cookie=a", "set-cookie=b"]);
  });

  test.each(["HTTP/1.1 200", "HTTP/1.1 200 "])("may have no reason: %j", (line) => {
    expect(parse(`${line}\r\n\r\n`)).toBe(0);
    expect(head.reasonPhrase()).toBe("");
  });

  test("tells how long its connection lives", () => {
    expect(withLines(200, "Connection: close")).toBe(0);
    expect(head.keepAlive).toBe(false);
    expect(withLines(200, "Keep-Alive: max=3, timeout=15")).toBe(0);
    expect(head).toMatchObject({ keepAlive: true, keepAliveTimeout: 15 });
    expect(withLines(200)).toBe(0);
    expect(head.keepAliveTimeout).toBe(-1);
    expect(parse("HTTP/1.0 200 OK\r\n\r\n")).toBe(0);
    expect(head.keepAlive).toBe(false);
    expect(parse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n")).toBe(0);
    expect(head.keepAlive).toBe(true);
    expect(withLines(101, "Connection: upgrade", "Upgrade: websocket")).toBe(0);
    expect(head.upgrade).toBe(true);
  });

  test.each([
    ["GET", 200, ["Content-Length: 5"], "length"],
    ["GET", 200, ["Content-Length: 0"], "none"],
    ["GET", 200, ["Transfer-Encoding: chunked"], "chunked"],
    ["GET", 200, [], "close"],
    ["HEAD", 200, ["Content-Length: 5"], "none"],
    ["HEAD", 200, ["Transfer-Encoding: chunked"], "none"],
    ["GET", 204, [], "none"],
    ["GET", 304, ["Content-Length: 5"], "none"],
    ["GET", 100, [], "none"],
    ["GET", 101, [], "none"],
    ["CONNECT", 200, [], "none"],
    ["CONNECT", 403, ["Content-Length: 5"], "length"],
    ["GET", 999, ["Content-Length: 5"], "length"],
  ])("to %s with %d and %j has a body of kind %4$s", (method, status, lines, kind) => {
    expect(withLines(status, ...lines)).toBe(0);
    expect(head.bodyKind(method)).toBe(kind as ReturnType<ResponseHead["bodyKind"]>);
  });
});

describe("an answer that is not believed", () => {
  test.each([
    "HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.2 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 \r\n\r\n",
    "HTTP/1.1 2\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    "HTTP/1.1 200\tOK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/1.1 200 O\0K\r\n\r\n",
    "HTTP/1.1 200 OK\n\r\n\r\n",
    "HTTP/1.1 200 O\rK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: y\n\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: \x7f\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  ])("%j", (text) => {
    expect(parse(text)).not.toBe(0);
    expect(head.reason).not.toBe("");
  });

  test("for its length or its number of lines", () => {
    expect(withLines(200, `X: ${"a".repeat(2_000)}`)).toBe(431);
    expect(withLines(200, ...Array.from({ length: 50 }, () => "X: y"))).toBe(0);
    expect(withLines(200, ...Array.from({ length: 51 }, () => "X: y"))).toBe(431);
  });
});
