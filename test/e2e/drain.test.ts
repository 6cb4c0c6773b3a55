/** SIGTERM while clients are in the midst of a request's head: it waits a moment for them, not for its deadline. */
import { expect, setDefaultTimeout, test } from "bun:test";
import net from "node:net";
import { connect as connectTls } from "node:tls";
import { startOrigin } from "../support/origins.ts";
import { startProxy, until, type TestProxy } from "../support/proxy.ts";
import { startTls } from "../support/tls-listener.ts";
import { pairOf, selfSigned, setOf } from "../support/tls.ts";

setDefaultTimeout(60_000);

const engines = { listener_engine: "socket", upstream_engine: "socket" } as const;
const rules = (address: string) => `upstreams: { a.test: { paths: { "/": { servers: ["${address}"] } } } }`;

/** A client that has sent the first half of a head, and the proxy has it. */
async function halfway(proxy: TestProxy) {
  const socket = net.connect(proxy.port, "127.0.0.1");
  const client = { socket, text: "", ended: false };
  socket.on("data", (data) => (client.text += data.toString("latin1")));
  socket.on("error", () => (client.ended = true));
  socket.on("close", () => (client.ended = true));
  // The first answer proves that the connection is in; its request and the half go out together.
  socket.write("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\nGET /second HTTP/1.1\r\nHost: a.te");
  await until(() => client.text.includes('"target":"/first"'), "the first answer");
  client.text = "";
  return client;
}

/** Stops it as SIGTERM does, with a deadline that no test waits for. */
function stop(proxy: TestProxy) {
  const beganMs = performance.now();
  return proxy.running.stop(50_000).then(() => performance.now() - beganMs);
}

test("half a head does not hold the shutdown, and is told why it ends", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address), engines);
  const clients = await Promise.all(Array.from({ length: 5 }, () => halfway(proxy)));
  expect(await stop(proxy)).toBeLessThan(20_000);
  await until(() => clients.every((client) => client.ended), "the end of all clients");
  expect(clients.map((client) => client.text.slice(0, 12))).toEqual(Array(5).fill("HTTP/1.1 503"));
  expect(clients[0]!.text).toContain("Connection: close\r\n");
  expect(proxy.log()).not.toContain("not drained");
});

test("a head that comes to its end in time gets its answer, with Connection: close", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address), engines);
  const client = await halfway(proxy);
  const stopped = stop(proxy);
  await Bun.sleep(50);
  client.socket.write("st\r\n\r\n");
  expect(await stopped).toBeLessThan(20_000);
  await until(() => client.ended, "the end of the client");
  expect(client.text).toStartWith("HTTP/1.1 200");
  expect(client.text).toContain('"target":"/second"');
  expect(client.text).toContain("Connection: close\r\n");
});

test("a request that is being answered is not hurried", async () => {
  let answer: (() => void) | undefined;
  await using up = await startOrigin(async (request, response) => {
    if (request.url === "/slow") await new Promise<void>((resolve) => (answer = resolve));
    response.end("done");
  });
  await using proxy = await startProxy(rules(up.address), engines);
  const socket = net.connect(proxy.port, "127.0.0.1");
  let text = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => answer !== undefined, "the request");
  const stopped = stop(proxy);
  // Longer than a half head would get.
  await Bun.sleep(1_500);
  answer!();
  expect(await stopped).toBeLessThan(20_000);
  await until(() => text.endsWith("done"), "the whole answer");
  expect(text).toContain("Connection: close\r\n");
  socket.destroy();
});

/** A client that has had an answer and keeps its connection. */
async function idle(proxy: TestProxy) {
  const socket = net.connect(proxy.port, "127.0.0.1");
  const client = { socket, text: "", ended: false };
  socket.on("data", (data) => (client.text += data.toString("latin1")));
  socket.on("error", () => (client.ended = true));
  socket.on("close", () => (client.ended = true));
  socket.write("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => client.text.includes('"target":"/first"'), "the first answer");
  client.text = "";
  return client;
}

test("an idle connection has a moment for a request that may be on its way, and then ends", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address), engines);
  const [quiet, busy, mute] = [await idle(proxy), await idle(proxy), net.connect(proxy.port, "127.0.0.1")];
  let isMuteOver = false;
  mute.on("close", () => (isMuteOver = true)).resume();
  await until(() => !mute.connecting, "the connection that says nothing");
  const stopped = stop(proxy);
  await proxy.logged(/ proxy - stopping/);
  busy.socket.write("GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => busy.text.includes('"target":"/second"'), "the second answer");
  expect(busy.text).toContain("Connection: close\r\n");
  expect(quiet.ended).toBe(false);
  expect(await stopped).toBeLessThan(20_000);
  await until(() => quiet.ended && busy.ended && isMuteOver, "the end of all clients");
  expect(quiet.text).toBe("");
  expect(proxy.log()).not.toContain("not drained");
});

test("a TLS handshake that has begun is finished, and its request answered", async () => {
  await using tls = startTls({ certificates: setOf(pairOf("a.test", selfSigned("a.test"))) });
  const [early, silent] = [net.connect(tls.port, "127.0.0.1"), net.connect(tls.port, "127.0.0.1")];
  silent.on("error", () => {}).resume();
  await until(() => tls.held() === 2, "both connections");
  const drained = tls.listener.drain();
  // It accepts nothing more; who is in is served.
  const late = net.connect(tls.port, "127.0.0.1");
  expect(await new Promise((resolve) => late.on("error", resolve).on("connect", resolve))).toMatchObject({
    code: "ECONNREFUSED",
  });
  const socket = connectTls({ socket: early, servername: "a.test", rejectUnauthorized: false });
  let text = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.on("error", () => {});
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => text.includes("HTTP/1.1 200"), "the answer");
  expect(text).toContain("Connection: close\r\n");
  // The one that never says anything does not hold it.
  await drained;
  expect(tls.held()).toBe(0);
  expect(tls.faults).toEqual([]);
});
