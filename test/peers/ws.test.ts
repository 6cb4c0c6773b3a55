/** Node's own `ws` as client and as server, each in a process of its own, through the whole proxy. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { pathOf } from "../support/programs.ts";
import { startProxy, type TestProxy } from "../support/proxy.ts";
import { NodeProcess, runClient, startOrigin } from "../support/websocket-bridge.ts";

setDefaultTimeout(60_000);

let origin: NodeProcess;
let port: number;
let proxy: TestProxy;
let url: string;

// The origin answers upgrades only: a health check would wait in vain.
const rules = (about = "") => `
client_headers: ["X-Through: proxy"]
upstreams:
  DEFAULT: { paths: { "/": { healthcheck: false, servers: ["127.0.0.1:${port}"]${about} } } }
`;

beforeAll(async () => {
  pathOf("node");
  ({ origin, port } = await startOrigin());
  proxy = await startProxy(rules());
  url = `ws://127.0.0.1:${proxy.port}`;
});

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

const sha1 = (data: string | Buffer) => createHash("sha1").update(data).digest("hex");

/** Waits until the origin saw the end of a WebSocket on this path. */
const originClosed = (path: string) => origin.event((e) => e.event === "close" && e.path === path);

describe("a WebSocket between two programs on node's ws", () => {
  test("carries text, binary, fragments and empty messages in order", async () => {
    const done = await runClient(`${url}/echo`, {
      steps: [
        ["text", "héllo"],
        ["binary", 1000, 5],
        ["fragments", ["one ", "two ", "three"]],
        ["text", ""],
        ["binary", 0, 0],
        ["many", 500],
        ["messages", 505],
        ["close", 1000, "done"],
      ],
    });
    expect(done.error).toBeUndefined();
    expect(done.list.slice(0, 5)).toEqual([
      { binary: false, length: 6, hash: sha1("héllo"), text: "héllo" },
      { binary: true, length: 1000, hash: sha1(Buffer.alloc(1000, 5)), text: "" },
      { binary: false, length: 13, hash: sha1("one two three"), text: "one two three" },
      { binary: false, length: 0, hash: sha1(""), text: "" },
      { binary: true, length: 0, hash: sha1(""), text: "" },
    ]);
    expect(done.list.slice(5).map((message: { text: string }) => message.text)).toEqual(
      Array.from({ length: 500 }, (_, i) => `message ${i}`),
    );
    expect(done.close).toEqual({ code: 1000, reason: "done" });
  });

  test("carries fragments, and a ping between them, from the server", async () => {
    const done = await runClient(`${url}/fragments`);
    expect(done.list.map(({ binary, length }: { binary: boolean; length: number }) => [binary, length])).toEqual([
      [false, Buffer.byteLength("héllo wörld")],
      [true, 140_000],
    ]);
    expect(done.pings).toEqual(["in between"]);
    expect(done.close).toEqual({ code: 1000, reason: "sent" });
  });

  test("carries pings both ways, and each side gets its pong", async () => {
    const path = "/ping";
    const done = await runClient(`${url}${path}`, {
      steps: [
        ["ping", "from client"],
        ["pongs", 1],
        ["pings", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.pongs).toEqual(["from client"]);
    expect(done.pings).toEqual(["from origin"]);
    await origin.event((e) => e.event === "ping" && e.path === path && e.data === "from client");
    await origin.event((e) => e.event === "pong" && e.path === path && e.data === "from origin");
  });

  test.each([
    [["chat"], "", "chat"],
    [["v2", "v1"], "?protocol=v1", "v1"],
    [[], "", ""],
  ])("agrees on the subprotocol that the server chose: offered %j%s", async (protocols, query, chosen) => {
    const done = await runClient(`${url}/echo${query}`, { protocols, steps: [["close", 1000, ""]] });
    expect([done.error, done.protocol]).toEqual([undefined, chosen]);
  });

  test("has no subprotocol when the server chose none of those offered", async () => {
    // Node's ws takes that for a fault; a proxy that chose for the server would hide it.
    const done = await runClient(`${url}/echo?protocol=`, { protocols: ["chat"], steps: [["close", 1000, ""]] });
    expect(done.error).toBe("Server sent no subprotocol");
  });

  test("shows the client what the server's 101 says, with the rules' own headers", async () => {
    const done = await runClient(`${url}/echo?a=1`, { steps: [["close", 1000, ""]] });
    expect(done.headers["x-path"]).toBe("/echo?a=1");
    expect(done.headers["set-cookie"]).toEqual(["from=origin; Path=/"]);
    expect(done.headers["x-through"]).toBe("proxy");
  });

  test("tells the server who asks", async () => {
    await runClient(`${url}/who`, {
      headers: { Cookie: "a=1", Origin: "http://page.test", "X-Own": "yes" },
      steps: [["close", 1000, ""]],
    });
    const { headers } = await origin.event((e) => e.event === "request" && e.path === "/who");
    expect(headers).toMatchObject({
      host: `127.0.0.1:${proxy.port}`,
      cookie: "a=1",
      origin: "http://page.test",
      "x-own": "yes",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
    });
  });
});

describe("the end of a WebSocket", () => {
  test.each([
    [1000, "fine"],
    [1001, ""],
    [1011, "ä".repeat(61)],
    [3000, "library"],
    [4999, "own"],
  ])("close code %i by the client reaches the server with its reason", async (code, reason) => {
    const path = `/client-closes-${code}`;
    const done = await runClient(`${url}${path}`, { steps: [["close", code, reason]] });
    expect(await originClosed(path)).toMatchObject({ code, reason });
    expect(done.close.code).toBe(code);
  });

  test.each([
    [1000, "fine"],
    [1001, "going"],
    [1012, "restart"],
    [4000, "own"],
  ])("close code %i by the server reaches the client with its reason", async (code, reason) => {
    const done = await runClient(`${url}/close?code=${code}&reason=${reason}`);
    expect(done.messages).toBe(1);
    expect(done.close).toEqual({ code, reason });
  });

  test("without a code stays one without a code", async () => {
    expect((await runClient(`${url}/close`)).close).toEqual({ code: 1005, reason: "" });
  });

  test("by a client that vanishes is 1006 for the server", async () => {
    const path = "/vanishes";
    await runClient(`${url}${path}`, { steps: [["terminate"]] });
    expect(await originClosed(path)).toMatchObject({ code: 1006 });
  });

  test("by a server that dies inside a message is 1006 for the client, which never sees half of it", async () => {
    for (const how of ["end", "reset"]) {
      const done = await runClient(`${url}/die?how=${how}`);
      expect([done.messages, done.close.code]).toEqual([0, 1006]);
    }
  });
});

describe("a server that refuses the upgrade", () => {
  test.each(["length", "chunked", "close"])("is heard with status, headers and body (%s)", async (framing) => {
    const { refused } = await runClient(`${url}/refuse/403?framing=${framing}&body=${"members only ".repeat(10)}`);
    expect(refused).toMatchObject({ status: 403, body: "members only ".repeat(10).trimEnd(), cut: false });
    expect(refused.headers).toMatchObject({
      "x-why": "because",
      "set-cookie": ["a=1", "b=2"],
      "content-type": "text/plain",
    });
  });

  test("with a redirect is not followed", async () => {
    expect((await runClient(`${url}/refuse/302`)).refused.status).toBe(302);
  });

  test("by closing the connection is 502", async () => {
    expect((await runClient(`${url}/hangup`)).refused.status).toBe(502);
  });

  test("by a nonsense answer is 502", async () => {
    expect((await runClient(`${url}/raw?bytes=${encodeURIComponent("SSH-2.0-x\r\n\r\n")}`)).refused.status).toBe(502);
  });
});

describe("large messages", () => {
  test.each([
    ["1 MiB", 1 << 20],
    ["64 MiB", 64 << 20],
  ])("of %s go there and back", async (_, bytes) => {
    const done = await runClient(`${url}/echo`, {
      steps: [
        ["binary", bytes, 7],
        ["messages", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.error).toBeUndefined();
    expect(done.list).toEqual([{ binary: true, length: bytes, hash: sha1(Buffer.alloc(bytes, 7)), text: "" }]);
    expect(done.close.code).toBe(1000);
  });

  test("of 1 MiB as text go there and back", async () => {
    const done = await runClient(`${url}/echo`, {
      steps: [
        ["long text", 1 << 19],
        ["messages", 1],
        ["close", 1000, ""],
      ],
    });
    expect(done.list).toMatchObject([{ binary: false, length: 1 << 20, hash: sha1("ä".repeat(1 << 19)) }]);
  });

  // A tunnel knows no messages: there the bound is the upstream's own.
  test("above the bound end the connection with 1009 on Bun.serve, and others go on", async () => {
    await using bounded = await startProxy(rules(), { listener_engine: "bun" });
    const url = `ws://127.0.0.1:${bounded.port}`;
    const done = await runClient(`${url}/count`, { steps: [["binary", 70 << 20, 1]] });
    expect([1006, 1009]).toContain(done.close.code);
    expect(
      (
        await runClient(`${url}/echo`, {
          steps: [
            ["text", "still here"],
            ["messages", 1],
            ["close", 1000, ""],
          ],
        })
      ).messages,
    ).toBe(1);
  });

  test("to a client that does not read for a while all arrive", async () => {
    const count = 400;
    await using client = new NodeProcess("ws-client.mjs", [
      `${url}/burst?count=${count}`,
      JSON.stringify({ quiet: true, steps: [["pause"], ["wait for line"], ["resume"]] }),
    ]);
    await client.event((e) => e.event === "open");
    client.line();
    const done = await client.event((e) => e.event === "done");
    expect([done.messages, done.bytes, done.close.code]).toEqual([count, count * 65_536, 1000]);
  });
});

describe("a reload", () => {
  test("leaves open WebSockets open, even when their route is gone", async () => {
    await using client = new NodeProcess("ws-client.mjs", [
      `${url}/echo`,
      JSON.stringify({
        steps: [
          ["text", "before"],
          ["messages", 1],
          ["wait for line"],
          ["text", "after"],
          ["messages", 2],
          ["close", 1000, "bye"],
        ],
      }),
    ]);
    await client.event((e) => e.event === "open");
    await proxy.apply(rules(", timeouts: {idle: 30}"));
    await proxy.apply(`upstreams: { other.test: { paths: { "/": { servers: ["127.0.0.1:${port}"] } } } }\n`);
    expect((await fetch(proxy.url)).status).toBe(404);
    client.line();
    const done = await client.event((e) => e.event === "done");
    expect(done.list.map((message: { text: string }) => message.text)).toEqual(["before", "after"]);
    expect(done.close).toEqual({ code: 1000, reason: "bye" });
    await proxy.apply(rules());
  });
});
