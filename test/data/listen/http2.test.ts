/** HTTP/2 as a server, spoken to by hand: what is answered, what is refused, and what ends a connection. */
import { describe, expect, test } from "bun:test";
import type { Body } from "../../../src/data/body.ts";
import type { Exchange, Reply } from "../../../src/data/exchange.ts";
import * as h2 from "../../../src/data/wire/http2/protocol.ts";
import { http2StreamsMax } from "../../../src/lib/limits.ts";
import { frame, get, Http2Peer, post, settings, uint32, type Lines } from "../../support/http2-peer.ts";
import { say, startHttp2Site } from "../../support/http2-site.ts";
import { until } from "../../support/proxy.ts";

/** Reads a body to its end. */
function collect(body: Body | undefined): Promise<{ text: string; trailers: string }> {
  return new Promise((resolve, reject) => {
    if (!body) return resolve({ text: "", trailers: "" });
    const chunks: Uint8Array[] = [];
    body.start({
      write: (chunk) => (chunks.push(chunk), true),
      end: (trailers) => resolve({ text: Buffer.concat(chunks).toString(), trailers: JSON.stringify(trailers ?? []) }),
      fail: reject,
    });
  });
}

const echo = async (exchange: Exchange): Promise<Reply> => {
  const { text, trailers } = await collect(exchange.body);
  const lines: string[] = [];
  exchange.eachField((name, value) => lines.push(`${name}: ${value}`));
  return say(
    JSON.stringify({
      method: exchange.method,
      target: exchange.target,
      authority: exchange.authority,
      lines,
      text,
      trailers,
    }),
  );
};

describe("requests", () => {
  test("method, target, authority, fields, body and trailers arrive; however the bytes are split", async () => {
    await using site = await startHttp2Site(echo);
    for (const bytesAtOnce of [1, 7, 10_000]) {
      await using peer = await Http2Peer.connect(site.port);
      const bytes = Buffer.concat([
        peer.headers(1, [...post, ["x-one", "1"], ["content-length", "10"]], false),
        frame(h2.DATA, h2.PADDED, 1, Buffer.from("\x03hello\0\0\0")),
        peer.data(1, "world"),
        peer.headers(1, [["x-sum", "42"]]),
      ]);
      for (let at = 0; at < bytes.length; at += bytesAtOnce) {
        peer.send(bytes.subarray(at, at + bytesAtOnce));
        if (bytesAtOnce === 1) await Bun.sleep(0);
      }
      const { status, body } = await peer.answer(1);
      expect(status).toBe(200);
      expect(JSON.parse(body)).toEqual({
        method: "POST",
        target: "/",
        authority: "a.test",
        lines: ["host: a.test", "x-one: 1", "content-length: 10"],
        text: "helloworld",
        trailers: '[["x-sum","42"]]',
      });
    }
    expect(site.faults).toEqual([]);
  });

  test("cookie crumbs are joined, Host is named once, and field(…) finds both", async () => {
    await using site = await startHttp2Site((exchange) =>
      say(`${exchange.field("cookie")} | ${exchange.field("host")}`),
    );
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, [...get, ["cookie", "a=1"], ["host", "a.test"], ["cookie", "b=2"], ["cookie", "c=3"]]));
    expect((await peer.answer(1)).body).toBe("a=1; b=2; c=3 | a.test");
    peer.send(peer.headers(3, [...get.slice(0, 3), ["host", "b.test"], ["cookie", "a=1"]]));
    expect((await peer.answer(3)).body).toBe("a=1 | b.test");
  });

  const malformed: Record<string, Lines> = {
    "no method": get.slice(1),
    "no path": get.filter(([name]) => name !== ":path"),
    "no scheme": get.filter(([name]) => name !== ":scheme"),
    "two methods": [[":method", "GET"], ...get],
    "a status": [...get, [":status", "200"]],
    "an unknown pseudo-field": [...get, [":what", "x"]],
    "a pseudo-field behind others": [...get.slice(0, 3), ["x", "y"], get[3]!],
    "an empty path": get.map(([n, v]) => [n, n === ":path" ? "" : v]),
    "a path without its slash": get.map(([n, v]) => [n, n === ":path" ? "x" : v]),
    "a blank in the path": get.map(([n, v]) => [n, n === ":path" ? "/a b" : v]),
    "a method that is no token": get.map(([n, v]) => [n, n === ":method" ? "G ET" : v]),
    connection: [...get, ["connection", "close"]],
    "keep-alive": [...get, ["keep-alive", "1"]],
    "proxy-connection": [...get, ["proxy-connection", "1"]],
    "transfer-encoding": [...get, ["transfer-encoding", "chunked"]],
    upgrade: [...get, ["upgrade", "h2c"]],
    "TE beyond trailers": [...get, ["te", "gzip"]],
    "a capital letter in a name": [...get, ["X-One", "1"]],
    "an empty name": [...get, ["", "1"]],
    "a line feed in a value": [...get, ["x", "a\nb: c"]],
    "a carriage return in a value": [...get, ["x", "a\rb"]],
    "NUL in a value": [...get, ["x", "a\0b"]],
    "a blank before a value": [...get, ["x", " a"]],
    "CONNECT with a path": [[":method", "CONNECT"], ...get.slice(1)],
    "a protocol without CONNECT": [...get, [":protocol", "websocket"]],
    "a malformed Content-Length": [...get, ["content-length", "+5"]],
    "two lengths": [...get, ["content-length", "5"], ["content-length", "6"]],
    "a length without its body": [...get, ["content-length", "5"]],
  };
  for (const [name, lines] of Object.entries(malformed)) {
    test(`malformed: ${name}`, async () => {
      await using site = await startHttp2Site(() => say("must not be asked"));
      await using peer = await Http2Peer.connect(site.port);
      peer.send(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, peer.raw(lines)));
      expect(await peer.reset(1)).toBe("PROTOCOL_ERROR");
      // The connection goes on, and the stream no longer counts.
      peer.send(peer.headers(3, get));
      expect((await peer.answer(3)).status).toBe(200);
      expect(site.endings).toHaveLength(1);
    });
  }

  const refused: [name: string, status: number, lines: Lines][] = [
    ["Host and :authority differ", 400, [...get, ["host", "b.test"]]],
    ["two Host fields", 400, [...get, ["host", "a.test"], ["host", "a.test"]]],
    ["userinfo in the authority", 400, get.map(([n, v]) => [n, n === ":authority" ? "u@a.test" : v])],
    ["an empty authority", 400, get.map(([n, v]) => [n, n === ":authority" ? "" : v])],
    ["a method in small letters", 501, get.map(([n, v]) => [n, n === ":method" ? "get" : v])],
    [
      "a head that is too long",
      431,
      [...get, ...Array.from({ length: 140 }, (_, i): [string, string] => [`x-${i}`, "e".repeat(500)])],
    ],
  ];
  for (const [name, status, lines] of refused) {
    test(`${status}: ${name}`, async () => {
      await using site = await startHttp2Site(() => say("must not be asked"));
      await using peer = await Http2Peer.connect(site.port);
      const block = peer.block(lines);
      const frames: Buffer[] = [];
      for (let at = 0; at < block.length; at += 16_384) {
        const last = at + 16_384 >= block.length;
        const part = block.subarray(at, at + 16_384);
        const flags = (last ? h2.END_HEADERS : 0) | (at === 0 ? h2.END_STREAM : 0);
        frames.push(frame(at === 0 ? h2.HEADERS : h2.CONTINUATION, flags, 1, part));
      }
      peer.send(...frames);
      expect((await peer.answer(1)).status).toBe(status);
      peer.send(peer.headers(3, get));
      expect((await peer.answer(3)).status).toBe(200);
    });
  }

  test("more or less DATA than Content-Length says is malformed, and the handler's body is cut", async () => {
    await using site = await startHttp2Site(echo);
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, [...post, ["content-length", "3"]], false), peer.data(1, "four", true));
    expect(await peer.reset(1)).toBe("PROTOCOL_ERROR");
    peer.send(peer.headers(3, [...post, ["content-length", "9"]], false), peer.data(3, "four", true));
    expect(await peer.reset(3)).toBe("PROTOCOL_ERROR");
    await until(() => site.endings.length === 2);
    expect(site.endings.map(({ ending }) => ending.cut)).toEqual([true, true]);
  });

  test("what is never to be indexed is known as such", async () => {
    let lines: number[] = [];
    await using site = await startHttp2Site((exchange) => {
      lines = [...((exchange as unknown as { head: { sensitive?: Set<number> } }).head.sensitive ?? [])];
      return say("");
    });
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, [...get, ["x-open", "1"], ["authorization", "Basic eDp5"]]));
    await peer.answer(1);
    expect(lines).toEqual([2]);
  });

  test("Expect: 100-continue is answered when the body is wanted", async () => {
    await using site = await startHttp2Site(echo);
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, [...post, ["expect", "100-continue"]], false));
    await until(() => peer.heads.get(1)?.[0]?.[0]?.[1] === "100");
    peer.send(peer.data(1, "x", true));
    expect((await peer.answer(1)).status).toBe(200);
  });
});

describe("answers", () => {
  test("HEAD, 204 and 304 end with their head", async () => {
    await using site = await startHttp2Site((exchange) => say("text", Number(exchange.target.slice(1)) || 200));
    await using peer = await Http2Peer.connect(site.port);
    const ask = (stream: number, method: string, path: string) =>
      peer.send(
        peer.headers(stream, [
          [":method", method],
          [":scheme", "http"],
          [":path", path],
          [":authority", "a"],
        ]),
      );
    ask(1, "HEAD", "/");
    ask(3, "GET", "/204");
    ask(5, "GET", "/304");
    for (const stream of [1, 3, 5]) expect((await peer.answer(stream)).body).toBe("");
    expect(peer.heads.get(1)![0]).toContainEqual(["content-length", "4"]);
    expect(peer.frames.filter(({ type }) => type === h2.DATA)).toEqual([]);
  });

  test("DATA follows the windows of stream and connection, and goes on when they open", async () => {
    const text = "x".repeat(100_000);
    await using site = await startHttp2Site(() => say(text));
    await using peer = await Http2Peer.connect(site.port, Http2Peer.greeting([h2.INITIAL_WINDOW_SIZE, 10]));
    peer.send(peer.headers(1, get));
    await until(() => peer.body(1).length === 10);
    peer.send(frame(h2.WINDOW_UPDATE, 0, 1, uint32(1_000_000)));
    await until(() => peer.body(1).length === 65_535);
    peer.send(frame(h2.WINDOW_UPDATE, 0, 0, uint32(34_465)));
    expect((await peer.answer(1)).body).toBe(text);
  });

  test("a window that opens byte by byte is not answered with frames of one byte", async () => {
    await using site = await startHttp2Site(() => say("x".repeat(200_000)));
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, get));
    await until(() => peer.body(1).length === 65_535);
    for (let i = 0; i < 300; i++) {
      peer.send(frame(h2.WINDOW_UPDATE, 0, 0, uint32(1)), frame(h2.WINDOW_UPDATE, 0, 1, uint32(1)));
      if (i % 10 === 0) await Bun.sleep(1);
    }
    // In the end they are used all the same.
    await until(() => peer.body(1).length === 65_835);
    expect(peer.frames.filter(({ type }) => type === h2.DATA).length).toBeLessThan(15);
  });

  test("SETTINGS that make windows smaller count, below zero too", async () => {
    await using site = await startHttp2Site(() => say("x".repeat(30_000)));
    await using peer = await Http2Peer.connect(site.port, Http2Peer.greeting([h2.INITIAL_WINDOW_SIZE, 20_000]));
    peer.send(peer.headers(1, get));
    await until(() => peer.body(1).length === 20_000);
    peer.send(settings([h2.INITIAL_WINDOW_SIZE, 0]));
    await peer.frame(h2.SETTINGS, 0, ({ flags }) => flags === h2.ACK);
    peer.send(frame(h2.WINDOW_UPDATE, 0, 1, uint32(20_000)), frame(h2.PING, 0, 0, Buffer.alloc(8)));
    await peer.frame(h2.PING, 0);
    expect(peer.body(1).length).toBe(20_000);
    peer.send(frame(h2.WINDOW_UPDATE, 0, 1, uint32(10_000)));
    expect((await peer.answer(1)).body.length).toBe(30_000);
  });

  test("an answer that does not wait for its request's body stops the upload with NO_ERROR", async () => {
    await using site = await startHttp2Site(() => say("no", 413));
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, post, false), peer.data(1, "x".repeat(1_000)));
    expect((await peer.answer(1)).status).toBe(413);
    expect(await peer.reset(1)).toBe("NO_ERROR");
    // What was on its way is no fault.
    for (let i = 0; i < 30; i++) peer.send(peer.data(1, "x".repeat(1_000)));
    peer.send(peer.headers(3, get));
    expect((await peer.answer(3)).status).toBe(413);
  });

  test("a body that nobody reads fills its window and no more; read, it goes on", async () => {
    let body: Body | undefined;
    let received = 0;
    await using site = await startHttp2Site(async (exchange) => {
      body = exchange.body!;
      await new Promise<void>((resolve, reject) => {
        let first = true;
        body!.start({
          write: (chunk) => ((received += chunk.length), first ? (first = false) : true),
          end: () => resolve(),
          fail: reject,
        });
      });
      return say(String(received));
    });
    await using peer = await Http2Peer.connect(site.port);
    const total = 1_000_000;
    let sent = 0;
    let credit = 0;
    peer.send(peer.headers(1, post, false));
    const own = await peer.frame(h2.SETTINGS, 0);
    credit = own.payload.readUInt32BE(8);
    const more = () => {
      while (sent < total && credit >= 16_000) {
        const length = Math.min(16_000, total - sent);
        sent += length;
        credit -= length;
        peer.send(peer.data(1, Buffer.alloc(length), sent === total));
      }
    };
    more();
    await until(() => received > 0);
    await Bun.sleep(50);
    expect(received).toBe(16_000);
    expect(peer.frames.some(({ type, stream }) => type === h2.WINDOW_UPDATE && stream === 1)).toBe(false);
    body!.resume();
    let seen = 0;
    await until(() => {
      const updates = peer.frames.filter(({ type, stream }) => type === h2.WINDOW_UPDATE && stream === 1);
      for (; seen < updates.length; seen++) credit += updates[seen]!.payload.readUInt32BE(0);
      more();
      return peer.frames.some(({ flags, stream, type }) => stream === 1 && type === h2.DATA && (flags & 1) === 1);
    });
    expect(peer.body(1)).toBe(String(total));
  });
});

describe("streams", () => {
  test("a stream counts until its exchange has ended, whoever reset it", async () => {
    const waiting: (() => void)[] = [];
    await using site = await startHttp2Site(
      () => new Promise<Reply>((resolve) => waiting.push(() => resolve(say("late")))),
    );
    await using peer = await Http2Peer.connect(site.port);
    for (let i = 0; i < http2StreamsMax; i++) {
      peer.send(peer.headers(2 * i + 1, get));
      if (i < 100) peer.send(frame(h2.RST_STREAM, 0, 2 * i + 1, uint32(h2.CANCEL)));
    }
    const next = 2 * http2StreamsMax + 1;
    peer.send(peer.headers(next, get));
    expect(await peer.reset(next)).toBe("REFUSED_STREAM");
    expect(waiting).toHaveLength(http2StreamsMax);
    waiting.shift()!();
    await until(() => site.endings.length === 1);
    peer.send(peer.headers(next + 2, get));
    await until(() => waiting.length === http2StreamsMax);
    for (const act of waiting) act();
    expect((await peer.answer(next + 2)).body).toBe("late");
    await until(() => site.endings.length === http2StreamsMax + 1);
    expect(site.endings.filter(({ ending }) => ending.status === 499)).toHaveLength(100);
  });

  test("a client that resets a stream is gone for its exchange at once", async () => {
    let gone = false;
    let finish = () => {};
    await using site = await startHttp2Site((exchange) => {
      exchange.onClientGone(() => (gone = true));
      return new Promise<Reply>((resolve) => (finish = () => resolve(say(""))));
    });
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, get), frame(h2.RST_STREAM, 0, 1, uint32(h2.CANCEL)));
    await until(() => gone);
    expect(site.endings).toEqual([]);
    finish();
    await until(() => site.endings.length === 1);
    expect(site.endings[0]!.ending).toMatchObject({ status: 499, cut: true });
  });
});

describe("the end of a connection", () => {
  const errors: [name: string, code: string, bytes: (peer: Http2Peer) => Buffer][] = [
    ["a frame that is too long", "FRAME_SIZE_ERROR", () => frame(h2.HEADERS, 4, 1, Buffer.alloc(16_385))],
    ["HEADERS on an even stream", "PROTOCOL_ERROR", (peer) => peer.headers(2, get)],
    ["a push", "PROTOCOL_ERROR", () => frame(h2.PUSH_PROMISE, 4, 1, Buffer.alloc(5))],
    ["a block that is no HPACK", "COMPRESSION_ERROR", () => frame(h2.HEADERS, 5, 1, Buffer.from([0x80]))],
    ["CONTINUATION of nothing", "PROTOCOL_ERROR", () => frame(h2.CONTINUATION, 4, 1)],
    ["DATA on an idle stream", "PROTOCOL_ERROR", (peer) => peer.data(1, "x")],
    ["PING of 7 bytes", "FRAME_SIZE_ERROR", () => frame(h2.PING, 0, 0, Buffer.alloc(7))],
    ["WINDOW_UPDATE by nothing", "PROTOCOL_ERROR", () => frame(h2.WINDOW_UPDATE, 0, 0, uint32(0))],
    ["a window that is too large", "FLOW_CONTROL_ERROR", () => frame(h2.WINDOW_UPDATE, 0, 0, uint32(0x7fff_ffff))],
    ["an initial window that is too large", "FLOW_CONTROL_ERROR", () => settings([h2.INITIAL_WINDOW_SIZE, 2 ** 31])],
    ["SETTINGS of 5 bytes", "FRAME_SIZE_ERROR", () => frame(h2.SETTINGS, 0, 0, Buffer.alloc(5))],
    [
      "a block that is interrupted",
      "PROTOCOL_ERROR",
      (peer) => Buffer.concat([frame(h2.HEADERS, 1, 1, peer.block(get)), peer.headers(3, get)]),
    ],
  ];
  for (const [name, code, bytes] of errors) {
    test(`${name}: ${code}`, async () => {
      await using site = await startHttp2Site(() => say("x"));
      await using peer = await Http2Peer.connect(site.port);
      await peer.frame(h2.SETTINGS, 0);
      peer.send(bytes(peer));
      expect(await peer.goaway()).toBe(code);
      await until(() => peer.ended);
    });
  }

  test("what is no preface ends it", async () => {
    await using site = await startHttp2Site(() => say("x"));
    await using peer = await Http2Peer.connect(site.port, Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    expect(await peer.goaway()).toBe("PROTOCOL_ERROR");
    await until(() => peer.ended);
  });

  test("graceful: GOAWAY twice, what was on its way is served, what comes later goes elsewhere", async () => {
    const waiting: (() => void)[] = [];
    await using site = await startHttp2Site(
      () => new Promise<Reply>((resolve) => waiting.push(() => resolve(say("served")))),
    );
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, get));
    await until(() => waiting.length === 1);
    for (const connection of site.site.connections) connection.drainNow();
    const first = await peer.frame(h2.GOAWAY);
    expect(first.payload.readUInt32BE(0)).toBe(0x7fff_ffff);
    // It has not seen the GOAWAY yet.
    peer.send(peer.headers(3, get));
    await until(() => waiting.length === 2);
    const { payload } = await peer.frame(h2.PING);
    peer.send(frame(h2.PING, h2.ACK, 0, payload));
    const second = await peer.frame(h2.GOAWAY, 0, (it) => it !== first);
    expect(second.payload.readUInt32BE(0)).toBe(3);
    peer.send(peer.headers(5, get));
    for (const act of waiting) act();
    expect((await peer.answer(1)).body).toBe("served");
    expect((await peer.answer(3)).body).toBe("served");
    await until(() => peer.ended === "end");
    expect(waiting).toHaveLength(2);
  });

  test("after keepalive_requests the client is sent away in order", async () => {
    await using site = await startHttp2Site(() => say("x"), { requestsMax: 3 });
    await using peer = await Http2Peer.connect(site.port);
    for (const stream of [1, 3, 5]) peer.send(peer.headers(stream, get));
    for (const stream of [1, 3, 5]) expect((await peer.answer(stream)).status).toBe(200);
    await peer.frame(h2.GOAWAY);
    await until(() => peer.ended === "end");
  });
});

describe("times", () => {
  test("no preface in time", async () => {
    await using site = await startHttp2Site(() => say("x"), { headerMs: 300 });
    await using peer = await Http2Peer.connect(site.port, Buffer.alloc(0));
    expect(await peer.goaway()).toBe("SETTINGS_TIMEOUT");
  });

  test("no acknowledgement of our settings in time", async () => {
    await using site = await startHttp2Site(() => say("x"), { headerMs: 300 });
    await using peer = await Http2Peer.connect(site.port, Buffer.concat([h2.preface, settings()]));
    expect(await peer.goaway()).toBe("SETTINGS_TIMEOUT");
  });

  test("a field block, and a frame, that do not end", async () => {
    await using site = await startHttp2Site(() => say("x"), { headerMs: 300 });
    await using slow = await Http2Peer.connect(site.port);
    slow.send(frame(h2.HEADERS, h2.END_STREAM, 1, slow.block(get)));
    await using partial = await Http2Peer.connect(site.port);
    partial.send(partial.headers(1, get).subarray(0, 12));
    expect(await slow.goaway()).toBe("ENHANCE_YOUR_CALM");
    expect(await partial.goaway()).toBe("ENHANCE_YOUR_CALM");
  });

  test("a window that does not open; other streams go on", async () => {
    await using site = await startHttp2Site((exchange) => say("x".repeat(exchange.target === "/" ? 100 : 1)), {
      writeMs: 400,
    });
    await using peer = await Http2Peer.connect(site.port, Http2Peer.greeting([h2.INITIAL_WINDOW_SIZE, 10]));
    peer.send(peer.headers(1, get));
    expect(await peer.reset(1)).toBe("CANCEL");
    peer.send(peer.headers(3, [...get.slice(0, 2), [":path", "/one"], get[3]!]));
    expect((await peer.answer(3)).body).toBe("x");
    expect(site.endings[0]!.ending.cut).toBe(true);
  });

  test("a request body that is silent", async () => {
    await using site = await startHttp2Site(
      async (exchange) => {
        try {
          await collect(exchange.body);
          return say("whole");
        } catch (error) {
          return say((error as Error).message, 408);
        }
      },
      { bodyMs: 300 },
    );
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, post, false), peer.data(1, "x"));
    const { status, body } = await peer.answer(1);
    expect([status, body]).toEqual([408, "the request body was silent for 0.3 s"]);
  });

  test("a connection without streams", async () => {
    await using site = await startHttp2Site(() => say("x"), { idleMs: 500 });
    await using peer = await Http2Peer.connect(site.port);
    peer.send(peer.headers(1, get));
    await peer.answer(1);
    await peer.frame(h2.GOAWAY);
    await until(() => peer.ended === "end");
  });
});
