import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Bridge, NodeProcess, runClient, startBridge, startOrigin } from "../../support/websocket-bridge.ts";
import { openUpstreamWebSocket } from "../../../src/data/forward/websocket.ts";

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

/** A fresh origin, for tests that look at its events. */
async function fresh(options: { streamMs?: number } = {}) {
  const { origin, port } = await startOrigin();
  const bridge = startBridge({ connect: { hostname: "127.0.0.1", port }, ...options });
  return {
    origin,
    bridge,
    async [Symbol.asyncDispose]() {
      bridge[Symbol.dispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

describe("close codes", () => {
  test.each([1000, 1001, 1003, 1008, 1011, 1012, 1013, 1014, 3000, 4999])(
    "%d and its reason go from the upstream to the client",
    async (code) => {
      const done = await runClient(`${bridge.url}/close?code=${code}&reason=${encodeURIComponent("bye ✓")}`);
      expect(done.close).toEqual({ code, reason: "bye ✓" });
      expect(done.list[0].text).toBe("before");
    },
  );

  test("a close without a code stays one, both ways", async () => {
    await using own = await fresh();
    expect((await runClient(`${own.bridge.url}/close`)).close).toEqual({ code: 1005, reason: "" });
    expect((await runClient(`${own.bridge.url}/count`, { steps: [["close"]] })).close.code).toBe(1005);
    expect(await own.origin.event((e) => e.event === "close" && e.path === "/count")).toMatchObject({
      code: 1005,
      reason: "",
    });
  });

  test.each([1000, 1001, 1003, 1008, 1011, 1012, 1013, 1014, 3000, 4999])(
    "%d and its reason go from the client to the upstream",
    async (code) => {
      const path = `/count-${code}`;
      const done = await runClient(`${bridge.url}${path}`, { steps: [["close", code, "wie schön"]] });
      expect(done.close.code).toBe(code);
      expect(await origin.event((e) => e.event === "close" && e.path === path)).toMatchObject({
        code,
        reason: "wie schön",
      });
    },
  );

  test("come after every message that was sent before", async () => {
    const done = await runClient(`${bridge.url}/burst?count=320`, { quiet: true });
    expect(done).toMatchObject({ messages: 320, bytes: 20 * MIB, close: { code: 1000, reason: "sent" } });
    await using own = await fresh();
    await runClient(`${own.bridge.url}/count`, {
      steps: [
        ["flood", 20 * MIB, 65_536],
        ["close", 4000, ""],
      ],
    });
    await own.origin.event((e) => e.event === "close" && e.code === 4000);
    expect(own.origin.events.filter((e) => e.event === "message").length).toBe(320);
  });
});

describe("an upstream that breaks the protocol", () => {
  test.each([
    ["reserved bits", "c10178", 1002],
    ["a bad opcode", "830178", 1002],
    ["a masked frame", "81810102030479", 1002],
    ["a ping of 126 bytes", `897e007e${"00".repeat(126)}`, 1002],
    ["bad UTF-8", "8102c328", 1007],
    ["a continuation without a start", "800178", 1002],
    ["close code 1005", "880203ed", 1002],
    ["a message of 2 GiB", "827f0000000080000000", 1009],
  ])("by %s is told so, and its client hears of an error", async (what, hex, code) => {
    const path = `/bytes?hex=${hex}`;
    await using own = await fresh();
    const done = await runClient(`${own.bridge.url}${path}`);
    expect(done.close.code).toBe(code === 1009 ? 1009 : 1011);
    expect(await own.origin.event((e) => e.event === "close")).toMatchObject({ code });
    expect((await own.bridge.ended(1))[0]).toMatchObject({ code, by: "upstream" });
    expect(what).toBeString();
  });
});

describe("sudden ends", () => {
  test.each(["end", "reset"])("an upstream that dies mid-message (%s) cuts the client", async (how) => {
    const done = await runClient(`${bridge.url}/die?how=${how}`);
    expect(done.close.code).toBe(1006);
    expect(done.messages).toBe(0);
  });

  test("whole messages before an upstream's death still arrive, even at a slow client", async () => {
    await using own = await fresh();
    await using client = new NodeProcess("ws-client.mjs", [
      `${own.bridge.url}/burst?count=320&then=die`,
      JSON.stringify({ quiet: true, steps: [["pause"], ["wait for line"], ["resume"]] }),
    ]);
    await client.event((e) => e.event === "open");
    await own.origin.event((e) => e.event === "full");
    client.line();
    expect(await client.event((e) => e.event === "done")).toMatchObject({ messages: 320, close: { code: 1006 } });
  });

  test.each(["terminate", "reset"])(
    "a client that dies (%s) ends the upstream's connection without a close code",
    async (how) => {
      await using own = await fresh();
      await runClient(`${own.bridge.url}/count`, {
        steps: [["text", "last words"], ["ping", ""], ["pongs", 1], [how]],
      });
      expect((await own.origin.event((e) => e.event === "close")).code).toBe(1006);
      expect(own.origin.events.filter((e) => e.event === "message").length).toBe(1);
      expect((await own.bridge.ended(1))[0]).toMatchObject({ code: 1006, by: "client", bytesIn: 10 });
    },
  );

  test("an upstream that never answers our close frame is cut", async () => {
    await using own = await fresh();
    const done = await runClient(`${own.bridge.url}/sleepy`, {
      steps: [
        ["text", "x"],
        ["close", 1000, ""],
      ],
    });
    expect(done.close.code).toBe(1000);
    expect((await own.bridge.ended(1))[0]).toMatchObject({ code: 1000, by: "client" });
  });

  test("silence beyond the stream timeout closes both sides with 1001", async () => {
    await using own = await fresh({ streamMs: 300 });
    const done = await runClient(`${own.bridge.url}/count`);
    expect(done.close).toEqual({ code: 1001, reason: "idle timeout" });
    expect((await own.origin.event((e) => e.event === "close")).code).toBe(1001);
    expect((await own.bridge.ended(1))[0]).toMatchObject({ code: 1001, by: "proxy" });
  });

  test("an upstream whose client is never opened is let go", async () => {
    await using own = await fresh();
    const connect = { hostname: "127.0.0.1", port: (await own.origin.event((e) => e.event === "listening")).port };
    const result = await openUpstreamWebSocket({
      connect,
      target: "/count",
      host: "x",
      fields: [],
      connectMs: 0,
      firstByteMs: 0,
      streamMs: 0,
    });
    if (result.kind !== "open") throw new Error("refused");
    const over = new Promise<unknown>((resolve) => result.socket.toAccept([], resolve));
    expect(await over).toMatchObject({ code: 1001, by: "proxy" });
    expect((await own.origin.event((e) => e.event === "close")).code).toBe(1001);
  });
});

describe("one side is slow", () => {
  test("a client that does not read pauses a flooding upstream; memory stays bounded", async () => {
    await using own = await fresh();
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    await using client = new NodeProcess("ws-client.mjs", [
      `${own.bridge.url}/flood`,
      JSON.stringify({
        quiet: true,
        steps: [["pause"], ["wait for line"], ["resume"], ["messages", 1000], ["close", 1000, ""]],
      }),
    ]);
    const { sent } = await own.origin.event((e) => e.event === "full");
    expect(sent).toBeLessThan(64 * MIB);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB);
    client.line();
    // It goes on after the pause, without a gap.
    expect((await client.event((e) => e.event === "done")).messages).toBeGreaterThanOrEqual(1000);
  });

  test("an upstream that does not read gets what was queued once it reads again", async () => {
    await using own = await fresh();
    await using client = new NodeProcess("ws-client.mjs", [
      `${own.bridge.url}/sleepy`,
      JSON.stringify({
        quiet: true,
        steps: [
          ["flood", 40 * MIB, MIB],
          ["ping", "all sent"],
          ["pongs", 1],
          ["tell", "all sent"],
          ["messages", 40],
          ["close", 1000, ""],
        ],
      }),
    ]);
    await client.event((e) => e.event === "all sent");
    await own.origin.event((e) => e.event === "asleep");
    own.origin.signal("SIGUSR2");
    expect(await client.event((e) => e.event === "done")).toMatchObject({ messages: 40, bytes: 40 * MIB });
  });

  test("an upstream that never reads ends in 1013 before the queue outgrows its bound", async () => {
    await using own = await fresh();
    const done = await runClient(`${own.bridge.url}/sleepy`, { quiet: true, steps: [["flood", 400 * MIB, MIB]] });
    expect(done.close.code).toBe(1013);
    expect((await own.bridge.ended(1))[0]).toMatchObject({ code: 1013, by: "proxy" });
  });
});
