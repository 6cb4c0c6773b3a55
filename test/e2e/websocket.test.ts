/** WebSockets on the same port, with zero configuration. */
import { describe, expect, test } from "bun:test";
import WebSocket, { WebSocketServer } from "ws";
import type { AddressInfo } from "node:net";
import { startOrigin } from "../support/origins.ts";
import { overTls, startProxy, until } from "../support/proxy.ts";

const rules = (port: number, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:${port}"]${more && `, ${more}`} } } } }`;

async function origin(onConnection: (socket: WebSocket, headers: Record<string, unknown>) => void) {
  const server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    handleProtocols: (offered) => ([...offered].includes("chat") ? "chat" : false),
  });
  server.on("connection", (socket, request) => onConnection(socket, request.headers));
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const open = (port: number, protocols: string[] = []) =>
  new WebSocket(`ws://127.0.0.1:${port}/chat?x=1`, protocols, { headers: { Host: "a.test", "X-Mine": "1" } });
const message = (socket: WebSocket) =>
  new Promise<string>((resolve) => socket.once("message", (data) => resolve(data.toString())));

describe("a WebSocket", () => {
  test("echoes text and binary, keeps its subprotocol, tells the upstream who the client is", async () => {
    let seen: Record<string, unknown> = {};
    await using up = await origin((socket, headers) => {
      seen = headers;
      socket.on("message", (data, binary) => socket.send(data, { binary }));
    });
    await using proxy = await startProxy(rules(up.port), { access_log: "all" });
    const socket = open(proxy.port, ["chat", "other"]);
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    expect(socket.protocol).toBe("chat");
    socket.send("hello");
    expect(await message(socket)).toBe("hello");
    socket.send(Buffer.alloc(100_000, 1));
    expect((await message(socket)).length).toBe(100_000);
    expect(seen).toMatchObject({
      host: "a.test",
      "x-mine": "1",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": overTls ? "https" : "http",
    });
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    socket.close(4001, "bye");
    expect(await closed).toBe(4001);
    await proxy.logged(/access - 101, GET \/chat\?x=1/);
  });
  test("stays open over reloads and keeps its own upstream", async () => {
    await using up = await origin((socket) => socket.on("message", (data) => socket.send(`one ${data}`)));
    await using next = await origin((socket) => socket.on("message", (data) => socket.send(`two ${data}`)));
    await using proxy = await startProxy(rules(up.port));
    const socket = open(proxy.port);
    await new Promise((resolve) => socket.once("open", resolve));
    for (let i = 0; i < 5; i++) await proxy.apply(rules(i % 2 === 0 ? next.port : up.port, `retries: ${i}`));
    socket.send("a");
    expect(await message(socket)).toBe("one a");
    const second = open(proxy.port);
    await new Promise((resolve) => second.once("open", resolve));
    second.send("b");
    expect(await message(second)).toBe("two b");
    socket.close();
    second.close();
  });
  test("refused by the upstream brings its status, fields and body", async () => {
    await using up = await startOrigin((_, response) => void response.writeHead(401, { "X-Why": "no" }).end("go away"));
    await using proxy = await startProxy(rules(up.port));
    const answer = await new Promise<{ status: number; why: unknown; body: string }>((resolve) =>
      open(proxy.port).once("unexpected-response", async (_, response) => {
        let body = "";
        for await (const chunk of response) body += String(chunk);
        resolve({ status: response.statusCode!, why: response.headers["x-why"], body });
      }),
    );
    expect(answer).toEqual({ status: 401, why: "no", body: "go away" });
  });
  test("to a dead upstream fails over to the next one", async () => {
    await using up = await origin((socket) => socket.send("here"));
    await using proxy = await startProxy(
      `upstreams: { a.test: { paths: { "/": { healthcheck: false, servers: ["127.0.0.1:1", "127.0.0.1:${up.port}"] } } } }`,
    );
    for (let i = 0; i < 2; i++) {
      const socket = open(proxy.port);
      expect(await message(socket)).toBe("here");
      socket.terminate();
    }
  });
  test("silent for longer than `stream` is closed", async () => {
    let upstreamClosed = false;
    await using up = await origin((socket) => socket.on("close", () => (upstreamClosed = true)));
    await using proxy = await startProxy(rules(up.port, "timeouts: { stream: 1 }"));
    const socket = open(proxy.port);
    await new Promise((resolve) => socket.once("close", resolve).once("error", resolve));
    await until(() => upstreamClosed, "the upstream side to be closed");
  });
  test("whose upstream dies is closed abnormally", async () => {
    await using up = await origin((socket) => setTimeout(() => socket.terminate(), 50));
    await using proxy = await startProxy(rules(up.port));
    const socket = open(proxy.port);
    expect(await new Promise<number>((resolve) => socket.once("close", resolve))).toBe(1006);
  });
});
