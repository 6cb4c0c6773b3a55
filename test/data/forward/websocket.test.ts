import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Failure } from "../../../src/data/failure.ts";
import { openUpstreamWebSocket, type UpstreamWebSocketOptions } from "../../../src/data/forward/websocket.ts";
import { webSockets } from "../../../src/data/forward/websocket-sweep.ts";
import { type Bridge, type NodeProcess, runClient, startBridge, startOrigin } from "../../support/websocket-bridge.ts";

setDefaultTimeout(60_000);
const MIB = 1024 * 1024;
let origin: NodeProcess;
let bridge: Bridge;
let originPort = 0;

beforeAll(async () => {
  const started = await startOrigin();
  origin = started.origin;
  originPort = started.port;
  bridge = startBridge({ connect: { hostname: "127.0.0.1", port: originPort } });
});

afterAll(async () => {
  bridge[Symbol.dispose]();
  await origin[Symbol.asyncDispose]();
});

function sha1(data: string | Uint8Array): string {
  return createHash("sha1").update(data).digest("hex");
}

describe("messages", () => {
  test("text, binary and empty ones come back as they went, text as text", async () => {
    const done = await runClient(`${bridge.url}/echo`, {
      steps: [
        ["text", "hé ✓ 😀"],
        ["binary", 300, 9],
        ["text", ""],
        ["binary", 0, 0],
        ["text", "\ufeffx"],
        ["messages", 5],
        ["close", 1000, ""],
      ],
    });
    expect(done.list.map((m: { binary: boolean; length: number }) => [m.binary, m.length])).toEqual([
      [false, 12],
      [true, 300],
      [false, 0],
      [true, 0],
      [false, 4],
    ]);
    expect(done.list[0].text).toBe("hé ✓ 😀");
    expect(done.list[1].hash).toBe(sha1(Buffer.alloc(300, 9)));
    expect(done.list[4].text).toBe("\ufeffx");
    expect(done.close.code).toBe(1000);
  });

  test("ten thousand small ones keep their order", async () => {
    const done = await runClient(`${bridge.url}/echo`, {
      steps: [
        ["many", 10_000],
        ["messages", 10_000],
        ["close", 1000, ""],
      ],
    });
    expect(done.list.map((m: { text: string }) => m.text)).toEqual(
      Array.from({ length: 10_000 }, (_, i) => `message ${i}`),
    );
  });

  test("fragments of the client and of the upstream arrive as whole messages, with a ping in between", async () => {
    const up = await runClient(`${bridge.url}/echo`, {
      steps: [
        ["fragments", ["one ", "", "two"]],
        ["messages", 1],
        ["close", 1000, ""],
      ],
    });
    expect(up.list.map((m: { text: string }) => m.text)).toEqual(["one two"]);
    const down = await runClient(`${bridge.url}/fragments`);
    expect(down.list.map((m: { length: number }) => m.length)).toEqual([13, 140_000]);
    expect(down.list[0].text).toBe("héllo wörld");
    expect(down.pings).toEqual(["in between"]);
  });

  test("of 1 MiB and of 64 MiB pass both ways unchanged", async () => {
    for (const size of [MIB, 64 * MIB]) {
      const done = await runClient(`${bridge.url}/echo`, {
        steps: [
          ["binary", size, 5],
          ["messages", 1],
          ["close", 1000, ""],
        ],
      });
      expect(done.list[0]).toMatchObject({ binary: true, length: size, hash: sha1(Buffer.alloc(size, 5)) });
    }
  });

  test("a long text passes both ways unchanged", async () => {
    const done = await runClient(`${bridge.url}/echo`, {
      steps: [
        ["long text", 2 * MIB],
        ["messages", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.list[0]).toMatchObject({ binary: false, length: 4 * MIB, hash: sha1("ä".repeat(2 * MIB)) });
  });

  test("of 65 MiB are refused with 1009, whichever side sends them", async () => {
    const up = await runClient(`${bridge.url}/echo`, { steps: [["binary", 65 * MIB, 5]] });
    expect(up.close.code).toBe(1009);
    const down = await runClient(`${bridge.url}/big?bytes=${65 * MIB}`);
    expect(down.close.code).toBe(1009);
    expect(down.messages).toBe(0);
    const told = await origin.event((e) => e.path === "/big" && e.event === "close");
    expect(told.code).toBe(1009);
  });
});

describe("pings", () => {
  test("of the client are answered once, and reach the upstream", async () => {
    const done = await runClient(`${bridge.url}/echo`, {
      steps: [
        ["ping", "from client"],
        ["pongs", 1],
        ["text", "x"],
        ["messages", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.pongs).toEqual(["from client"]);
    await origin.event((e) => e.event === "ping" && e.data === "from client");
  });

  test("of the upstream are answered once, and reach the client", async () => {
    const done = await runClient(`${bridge.url}/ping`, {
      steps: [
        ["pings", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.pings).toEqual(["from origin"]);
    await origin.event((e) => e.path === "/ping" && e.event === "close");
    expect(origin.events.filter((e) => e.path === "/ping" && e.event === "pong").map((e) => e.data)).toEqual([
      "from origin",
    ]);
  });
});

describe("the handshake", () => {
  test("hands on the client's fields, asks for no extension, and gives the client the upstream's fields", async () => {
    const done = await runClient(`${bridge.url}/echo?a=%2f&b`, {
      protocols: ["chat", "superchat"],
      headers: { Cookie: "k=v", "X-Own": "1", Origin: "https://page.test" },
      steps: [["close", 1000, ""]],
    });
    expect(done.protocol).toBe("chat");
    expect(done.headers).toMatchObject({ "set-cookie": ["from=origin; Path=/"], "x-path": "/echo?a=%2f&b" });
    const { headers } = await origin.event((e) => e.event === "request" && e.url === "/echo?a=%2f&b");
    expect(headers).toMatchObject({
      host: "origin.test",
      cookie: "k=v",
      "x-own": "1",
      origin: "https://page.test",
      upgrade: "websocket",
    });
    expect(headers["sec-websocket-protocol"]).toBe("chat,superchat");
    expect(headers["sec-websocket-extensions"]).toBeUndefined();
  });

  test("keeps the upstream's choice of subprotocol, also that of none", async () => {
    const second = await runClient(`${bridge.url}/echo?protocol=b`, {
      protocols: ["a", "b"],
      steps: [["close", 1000, ""]],
    });
    expect(second.protocol).toBe("b");
    // node's client refuses an answer without a subprotocol when it offered one: proof that none was sent to it.
    const none = await runClient(`${bridge.url}/echo?protocol=`, { protocols: ["a", "b"] });
    expect(none.error).toBe("Server sent no subprotocol");
  });

  test("carries fields of 20 KiB", async () => {
    const done = await runClient(`${bridge.url}/echo`, {
      headers: { "X-Long": "y".repeat(12_000) },
      steps: [["close", 1000, ""]],
    });
    expect(done.close.code).toBe(1000);
  });

  test.each([401, 403, 404])("that the upstream refuses with %d shows its status, fields and body", async (status) => {
    const { refused } = await runClient(`${bridge.url}/refuse/${status}`);
    expect(refused).toMatchObject({
      status,
      body: "no entry",
      cut: false,
      headers: { "x-why": "because", "set-cookie": ["a=1", "b=2"] },
    });
  });

  test.each(["chunked", "close"])("refused with a body framed as %s shows the whole body", async (framing) => {
    const { refused } = await runClient(`${bridge.url}/refuse/403?framing=${framing}`);
    expect(refused).toMatchObject({ status: 403, body: "no entry", cut: false });
  });

  test.each([
    ["short", 8],
    ["huge", 65_536],
  ])("refused with a body that is too %s passes on what came, and never looks complete", async (framing, bytes) => {
    const connect = { hostname: "127.0.0.1", port: originPort };
    const times = { connectMs: 5_000, firstByteMs: 5_000, streamMs: 0 };
    const target = `/refuse/403?framing=${framing}`;
    const result = await openUpstreamWebSocket({ connect, target, host: "x", fields: [], ...times });
    if (result.kind !== "refused") throw new Error("not refused");
    let came = 0;
    const end = await new Promise((resolve) =>
      result.answer.body!.start({
        write: (chunk) => ((came += chunk.length), true),
        end: () => resolve("complete"),
        fail: ({ code }) => resolve(code),
      }),
    );
    expect([result.answer.status, came, end]).toEqual([403, bytes, "body_cut"]);
  });

  test("refused with two framings at once is a bad answer", async () => {
    const { refused } = await runClient(`${bridge.url}/refuse/403?framing=both`);
    expect(refused).toMatchObject({ status: 502, body: "bad_answer" });
  });
});

describe("an upstream that cannot be reached", () => {
  const base = { target: "/", host: "x", fields: [], connectMs: 3_000, firstByteMs: 3_000, streamMs: 0 };
  const codeOf = async (options: Partial<UpstreamWebSocketOptions> & Pick<UpstreamWebSocketOptions, "connect">) =>
    openUpstreamWebSocket({ ...base, ...options }).then(
      () => "open",
      (failure: Failure) => failure.code as string,
    );
  const closedPort = async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    return port;
  };
  const answering = async (act: (socket: Socket, request: string) => void): Promise<Server & { port: number }> => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (data) => act(socket, data.toString("latin1")));
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    return Object.assign(server, { port: (server.address() as { port: number }).port });
  };
  const accept = (request: string) =>
    createHash("sha1")
      .update(`${/Sec-WebSocket-Key: (.*)\r\n/.exec(request)![1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");

  test("refuses the connection: connect_refused, by TCP and by unix socket", async () => {
    expect(await codeOf({ connect: { hostname: "127.0.0.1", port: await closedPort() } })).toBe("connect_refused");
    expect(await codeOf({ connect: { unix: "/tmp/there-is-no-such-socket" } })).toBe("connect_refused");
  });

  test("answers nothing: first_byte_timeout; hangs up: early_reset", async () => {
    const connect = { hostname: "127.0.0.1", port: originPort };
    expect(await codeOf({ connect, target: "/silent", firstByteMs: 100 })).toBe("first_byte_timeout");
    expect(await codeOf({ connect, target: "/hangup" })).toBe("early_reset");
    const resetting = await answering((socket) => socket.resetAndDestroy());
    expect(await codeOf({ connect: { hostname: "127.0.0.1", port: resetting.port } })).toBe("early_reset");
    resetting.close();
  });

  test("takes the connection but never shakes hands over TLS: connect_timeout", async () => {
    const mute = await answering(() => {});
    const tls = { serverName: "x", rejectUnauthorized: false };
    expect(await codeOf({ connect: { hostname: "127.0.0.1", port: mute.port }, tls, connectMs: 100 })).toBe(
      "connect_timeout",
    );
    mute.close();
  });

  test("is not waited for when the client has left", async () => {
    const connect = { hostname: "127.0.0.1", port: originPort };
    expect(await codeOf({ connect, signal: AbortSignal.abort() })).toBe("client_gone");
    const leaving = new AbortController();
    const opening = codeOf({ connect, target: "/silent?left", signal: leaving.signal });
    await origin.event((e) => e.url === "/silent?left");
    leaving.abort();
    expect(await opening).toBe("client_gone");
  });

  test.each<[string, (request: string) => string]>([
    [
      "the accept value of another key",
      () => "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ],
    ["no accept value", () => "Upgrade: websocket\r\nConnection: Upgrade\r\n"],
    [
      "two accept values",
      (r) => `Upgrade: websocket\r\nConnection: Upgrade\r\n${`Sec-WebSocket-Accept: ${accept(r)}\r\n`.repeat(2)}`,
    ],
    ["no Upgrade", (r) => `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept(r)}\r\n`],
    ["no Connection", (r) => `Upgrade: websocket\r\nSec-WebSocket-Accept: ${accept(r)}\r\n`],
    [
      "a subprotocol that was not offered",
      (r) =>
        `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(r)}\r\nSec-WebSocket-Protocol: z\r\n`,
    ],
    [
      "an extension",
      (r) =>
        `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(r)}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n`,
    ],
    [
      "a folded line",
      (r) => `Upgrade: websocket\r\n x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(r)}\r\n`,
    ],
    ["a head without end", () => `X: ${"y".repeat(70_000)}`],
  ])("answers 101 with %s: bad_answer", async (_, fields) => {
    const server = await answering((socket, request) =>
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields(request)}\r\n`),
    );
    const options = {
      connect: { hostname: "127.0.0.1", port: server.port },
      fields: [["Sec-WebSocket-Protocol", "a, b"] as const],
    };
    expect(await codeOf(options)).toBe("bad_answer");
    server.close();
  });

  test("is never sent a field or target that could split the request", async () => {
    const connect = { hostname: "127.0.0.1", port: originPort };
    for (const bad of [
      { fields: [["X", "a\r\nY: b"] as const] },
      // As latin1 its low byte would be a line feed.
      { fields: [["X", "a\u010ab"] as const] },
      { fields: [["X Y", "a"] as const] },
      { target: "/a b" },
      { target: "/\r\n" },
      { host: "a\nb" },
    ]) {
      expect(await codeOf({ connect, ...bad })).toBe("unsupported");
    }
  });
});

describe("other wires", () => {
  const folder = mkdtempSync(join(tmpdir(), "aralez-ws-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("a unix socket carries a WebSocket", async () => {
    const unix = join(folder, "origin.sock");
    const { origin } = await startOrigin(unix);
    await using _ = origin;
    using bridge = startBridge({ connect: { unix } });
    const done = await runClient(`${bridge.url}/echo`, {
      steps: [
        ["text", "hi"],
        ["messages", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.list[0].text).toBe("hi");
  });

  test("TLS carries a WebSocket over HTTP/1.1; its certificate is verified when asked for", async () => {
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 30 -subj /CN=good.test -addext subjectAltName=DNS:good.test`.quiet();
    const { origin, port } = await startOrigin("0", key, cert);
    await using _ = origin;
    const ca = readFileSync(cert, "utf8");
    const steps = [
      ["text", "hi"],
      ["binary", 3 * MIB, 1],
      ["messages", 2],
      ["close", 4000, "bye"],
    ];
    const statusWith = async (tls: { serverName: string; rejectUnauthorized: boolean; ca?: string }) => {
      using bridge = startBridge({ connect: { hostname: "127.0.0.1", port }, tls });
      const done = await runClient(`${bridge.url}/echo`, { steps });
      if (done.refused) return [done.refused.status, done.refused.body, bridge.failures[0]!.message];
      expect((await bridge.ended(1))[0]).toMatchObject({ code: 4000, by: "client", bytesOut: 3 * MIB + 2 });
      return done.list[1].hash === sha1(Buffer.alloc(3 * MIB, 1)) ? "open" : "changed";
    };
    expect(await statusWith({ serverName: "good.test", rejectUnauthorized: false })).toBe("open");
    expect(await statusWith({ serverName: "good.test", rejectUnauthorized: true, ca })).toBe("open");
    expect(await statusWith({ serverName: "other.test", rejectUnauthorized: true, ca })).toEqual([
      502,
      "tls_failed",
      expect.stringContaining("other.test"),
    ]);
    expect(await statusWith({ serverName: "good.test", rejectUnauthorized: true })).toEqual([
      502,
      "tls_failed",
      expect.stringContaining("self signed"),
    ]);
    const plain = startBridge({
      connect: { hostname: "127.0.0.1", port: originPort },
      tls: { serverName: "x", rejectUnauthorized: false },
    });
    using __ = plain;
    expect((await runClient(`${plain.url}/echo`)).refused.body).toBe("tls_failed");
    await origin.event((e) => e.event === "close" && e.code === 4000 && e.reason === "bye");
  });
});

test("nothing is left behind when all WebSockets have ended", async () => {
  const deadline = performance.now() + 25_000;
  while (webSockets.size > 0 && performance.now() < deadline) await Bun.sleep(20);
  expect(webSockets.size).toBe(0);
});
