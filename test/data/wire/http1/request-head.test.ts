import { describe, expect, test } from "bun:test";
import { parseRequestHead, RequestHead, statusOfOverlong } from "../../../../src/data/wire/request-head.ts";
import { absoluteForm, asteriskForm, authorityForm, originForm } from "../../../../src/data/wire/request-target.ts";
import { findHeadEnd, hasBareLineFeed } from "../../../../src/data/wire/head-bytes.ts";

const limits = { targetBytesMax: 1_000, headBytesMax: 2_000, linesMax: 50 };
const head = new RequestHead();

function parse(text: string, given = limits): number {
  const bytes = Buffer.from(text, "latin1");
  return parseRequestHead(head, bytes, 0, bytes.length, given);
}

/** A request with these lines besides Host. */
function withLines(...lines: string[]): number {
  return parse(["POST /x HTTP/1.1", "Host: a", ...lines, "", ""].join("\r\n"));
}

describe("a request that is read", () => {
  test("keeps its target, its lines, their order and case", () => {
    expect(
      parse("GET /a//b/../c?q='\"<\\>&%2f#f HTTP/1.1\r\nHOST: a\r\nx-One:\t1 \r\nX-one: 2\r\nEmpty:\r\n\r\n"),
    ).toBe(0);
    expect(head.method()).toBe("GET");
    expect(head.target()).toBe("/a//b/../c?q='\"<\\>&%2f#f");
    expect(head.minor).toBe(1);
    const lines: string[] = [];
    head.each((name, value) => lines.push(`${name}=${value}`));
    expect(lines).toEqual(["HOST=a", "x-One=1", "X-one=2", "Empty="]);
    expect(head.field("x-one")).toBe("1, 2");
    expect(head.field("empty")).toBe("");
    expect(head.field("absent")).toBeUndefined();
    expect(head.hostLine).toBe(0);
  });

  test("joins its Cookie lines by a semicolon", () => {
    expect(withLines("Cookie: a=1", "cookie: b=2")).toBe(0);
    expect(head.field("cookie")).toBe("a=1; b=2");
  });

  test("passes bytes beyond ASCII in values and target", () => {
    expect(parse("GET /caf\xe9 HTTP/1.1\r\nHost: a\r\nX: \xff\x80\r\n\r\n")).toBe(0);
    expect(head.target()).toBe("/caf\xe9");
    expect(head.field("x")).toBe("\xff\x80");
  });

  test("may lie anywhere in a buffer, after one empty line", () => {
    const text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const bytes = Buffer.from(`junk${text}GET /next HTTP/1.1\r\n`);
    expect(parseRequestHead(head, bytes, 4, 4 + text.length, limits)).toBe(0);
    expect(head.target()).toBe("/");
    expect(head.end).toBe(4 + text.length);
  });

  test.each([
    ["GET /a?b HTTP/1.1", originForm, "/a?b", undefined],
    ["GET http://h:81/a?b HTTP/1.1", absoluteForm, "/a?b", "h:81"],
    ["GET HtTpS://h HTTP/1.1", absoluteForm, "/", "h"],
    ["GET http://[::1]:81?b HTTP/1.1", absoluteForm, "/?b", "[::1]:81"],
    ["OPTIONS http://h HTTP/1.1", absoluteForm, "*", "h"],
    ["OPTIONS http://h?b HTTP/1.1", absoluteForm, "/?b", "h"],
    ["OPTIONS * HTTP/1.1", asteriskForm, "*", undefined],
    ["CONNECT h:443 HTTP/1.1", authorityForm, "h:443", "h:443"],
  ])("%s has form %d, path %s, authority %s", (line, form, target, authority) => {
    expect(parse(`${line}\r\nHost: h\r\n\r\n`)).toBe(0);
    expect(head.form).toBe(form);
    expect(head.target()).toBe(target);
    expect(
      head.authorityStart < 0 ? undefined : head.bytes.toString("latin1", head.authorityStart, head.authorityEnd),
    ).toBe(authority);
    if (head.pathStart >= 0) expect(head.bytes.toString("latin1", head.pathStart, head.pathEnd)).toBe(target);
    else expect(form === authorityForm || !head.rawTarget().slice(8).includes("/")).toBe(true);
  });

  test("tells what frames it and what becomes of its connection", () => {
    expect(withLines("Content-Length: 0012")).toBe(0);
    expect(head).toMatchObject({
      contentLength: 12,
      chunked: false,
      keepAlive: true,
      upgrade: false,
      nominates: false,
    });
    expect(withLines("Transfer-Encoding:  CHUNKED ", "Connection: close")).toBe(0);
    expect(head).toMatchObject({ contentLength: -1, chunked: true, keepAlive: false });
    expect(withLines("Connection: Keep-Alive ,upgrade, TE,", "Upgrade: websocket", "TE: gzip;q=0, trailers")).toBe(0);
    expect(head).toMatchObject({ keepAlive: true, upgrade: true, teTrailers: true, nominates: false });
    expect(withLines("Connection: x-hop", "Expect: 100-Continue", "X_Y: 1")).toBe(0);
    expect(head).toMatchObject({ nominates: true, expectContinue: true, hasUnderscore: true, upgrade: false });
    expect(withLines("Upgrade: websocket")).toBe(0);
    expect(head).toMatchObject({ upgrade: false, hasUnderscore: false, expectContinue: false, teTrailers: false });
  });

  test("in HTTP/1.0 closes unless it asks to be kept, and has no Upgrade and no Expect", () => {
    expect(parse("GET / HTTP/1.0\r\n\r\n")).toBe(0);
    expect(head).toMatchObject({ minor: 0, keepAlive: false, count: 0, hostLine: -1 });
    expect(
      parse("GET / HTTP/1.0\r\nConnection: keep-alive, upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\n\r\n"),
    ).toBe(0);
    expect(head).toMatchObject({ keepAlive: true, upgrade: false, expectContinue: false });
  });

  test("may have as many lines as are allowed, and no more", () => {
    const lines = Array.from({ length: 49 }, (_, i) => `X-${i}: ${i}`);
    expect(withLines(...lines)).toBe(0);
    expect(head.field("x-48")).toBe("48");
    expect(withLines(...lines, "One: more")).toBe(431);
  });

  test("leaves nothing behind in the next", () => {
    expect(
      withLines("Content-Length: 5", "Connection: close, x", "X_Y: 1", "TE: trailers", "Expect: 100-continue"),
    ).toBe(0);
    expect(parse("GET / HTTP/1.0\r\n\r\n")).toBe(0);
    const fresh = new RequestHead();
    const bytes = Buffer.from("GET / HTTP/1.0\r\n\r\n");
    expect(parseRequestHead(fresh, bytes, 0, bytes.length, limits)).toBe(0);
    const facts = ({ bytes: _bytes, lines: _lines, connection: _connection, ...rest }: RequestHead) => rest;
    expect(facts(head)).toEqual(facts(fresh));
  });
});

describe("a request that is refused", () => {
  test.each([
    [400, "GET /\r\n\r\n"],
    [400, "GET / \r\n\r\n"],
    [400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "\r\n\r\n"],
    [400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [501, "get / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET / http/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"],
    [400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"],
    [400, "GET / HTTP/11\r\nHost: a\r\n\r\n"],
    [505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"],
    [505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"],
    [505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"],
    [505, "PRI * HTTP/2.0\r\n\r\n"],
    [400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET h:80 HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"],
    [400, "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "CONNECT a:443/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    [400, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"],
    [400, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost: [fe80::1%25x]\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"],
    [400, "GET / HTTP/1.1\n\nHost: a\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost: a"],
    [400, "GET / HTTP/1.1\r\nHost: a\r\n\n"],
    [400, "GET / HTTP/1.1\r\nHost: a\r\n\r\nX: y\r\n\r\n"],
    [400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ])("with %d: %j", (status, text) => {
    expect(parse(text)).toBe(status);
    expect(head.reason).not.toBe("");
  });

  test.each([
    [400, ["X : y"]],
    [400, ["X\t: y"]],
    [400, ["X Y: z"]],
    [400, [" X: y"]],
    [400, ["X: y", " z"]],
    [400, ["X: y", "\tz"]],
    [400, [": y"]],
    [400, ["X"]],
    [400, ["X\0: y"]],
    [400, ["X\xe9: y"]],
    [400, ["X(: y"]],
    [400, ["X: \0"]],
    [400, ["X: a\x01b"]],
    [400, ["X: a\x7fb"]],
    [400, ["X: a\x0bb"]],
    [400, ["X: a\rb"]],
    [400, ["X: a\nY: b"]],
    [400, ["X: a\n"]],
    [400, ["\rX: y"]],
    [400, ["Content-Length: 1", "Content-Length: 2"]],
    [400, ["Content-Length: 1", "content-length: 1"]],
    [400, ["Content-Length: 1, 1"]],
    [400, ["Content-Length:"]],
    [400, ["Content-Length: +1"]],
    [400, ["Content-Length: -1"]],
    [400, ["Content-Length: 1\t"]],
    [400, ["Content-Length: \t 1"]],
    [400, ["Transfer-Encoding: chunked \t "]],
    [400, ["Content-Length: 1.0"]],
    [400, ["Content-Length: 0x1"]],
    [400, ["Content-Length: 1 1"]],
    [400, ["Content-Length: \xb2"]],
    [400, ["Content-Length: 1000000000000000"]],
    [400, ["Content-Length: 1", "Transfer-Encoding: chunked"]],
    [400, ["Transfer-Encoding: chunked", "Content-Length: 0"]],
    [400, ["Transfer-Encoding:"]],
    [400, ["Transfer-Encoding: identity"]],
    [400, ["Transfer-Encoding: gzip"]],
    [400, ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"]],
    [400, ["Transfer-Encoding: xchunked"]],
    [400, ["Transfer-Encoding: chunked;a=b"]],
    [400, ['Transfer-Encoding: "chunked"']],
    [400, ["Transfer-Encoding: chunked,"]],
    [400, ["Transfer-Encoding: ,chunked"]],
    [400, ["Transfer-Encoding: chunked chunked"]],
    [400, ["Transfer-Encoding: chunked, chunked"]],
    [400, ["Transfer-Encoding: chunked, gzip"]],
    [400, ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]],
    [400, ["Transfer-Encoding: chunked", "Transfer-Encoding:"]],
    [501, ["Transfer-Encoding: gzip, chunked"]],
    [
      501,
      ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"].slice(0, 0).concat("Transfer-Encoding: a,b , chunked"),
    ],
  ])("with %d for the lines %j", (status, lines) => {
    expect(withLines(...lines)).toBe(status);
    expect(head.reason).not.toBe("");
  });

  test("for its length: 414 for the target, 431 for the rest", () => {
    const target = `/${"a".repeat(999)}`;
    expect(parse(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)).toBe(0);
    expect(parse(`GET ${target}a HTTP/1.1\r\nHost: a\r\n\r\n`)).toBe(414);
    const rest = 2_000 - "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".length;
    expect(parse(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(rest)}\r\n\r\n`)).toBe(0);
    expect(parse(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(rest + 1)}\r\n\r\n`)).toBe(431);
  });

  test("before it has ended", () => {
    const overlong = (text: string) => statusOfOverlong(Buffer.from(text), 0, limits);
    expect(overlong(`GET /${"a".repeat(3_000)}`)).toBe(414);
    expect(overlong(`GET / HTTP/1.1\r\nX: ${"a".repeat(3_000)}`)).toBe(431);
    expect(overlong("G".repeat(3_000))).toBe(431);
  });
});

describe("the end of a head", () => {
  test("is found once it is there, from where the last look ended", () => {
    const text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    const end = text.indexOf("rest");
    for (let length = 0; length <= text.length; length++) {
      const from = Math.max(0, length - 4);
      expect(findHeadEnd(Buffer.from(text.slice(0, length)), from)).toBe(length >= end && from <= end - 4 ? end : -1);
    }
  });

  test("that would never come because line ends lack their CR is noticed", () => {
    const bare = (text: string, from = 0) => hasBareLineFeed(Buffer.from(text), from, text.length);
    expect(bare("GET / HTTP/1.1\n\n")).toBe(true);
    expect(bare("\nGET")).toBe(true);
    expect(bare("GET / HTTP/1.1\r\nHost: a\r\n")).toBe(false);
    expect(bare("a\r\nb\nc", 2)).toBe(true);
    expect(bare("a\r\nb", 2)).toBe(false);
    expect(hasBareLineFeed(Buffer.from("a\r\nb\n"), 0, 4)).toBe(false);
  });
});
