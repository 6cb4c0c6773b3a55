/** A client that pipelines without end costs neither memory nor the others' time; an honest one gets all its answers. */
import { expect, setDefaultTimeout, test } from "bun:test";
import net from "node:net";
import { startOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

setDefaultTimeout(60_000);

const engines = { listener_engine: "socket", upstream_engine: "socket" } as const;
const rules = (address: string) => `upstreams: { a.test: { paths: { "/": { servers: ["${address}"] } } } }`;
const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;

test.each([2, 40, 200])("%d pipelined requests and a FIN get all their answers", async (times) => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using proxy = await startProxy(rules(up.address), engines);
  const socket = net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
  let text = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.end("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(times));
  await new Promise((resolve, reject) => socket.on("end", resolve).on("error", reject));
  expect(count(text, /HTTP\/1\.1 200 /g)).toBe(times);
  socket.destroy();
});

test.each([
  ["without a body", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"],
  ["with a body", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"],
])("requests %s that wait are left to the kernel, however many were answered", async (_, request) => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using proxy = await startProxy(rules(up.address), engines);
  const offered = Buffer.from(request.repeat(Math.ceil((96 * 2 ** 20) / request.length)));
  const socket = net.connect(proxy.port, "127.0.0.1");
  let answers = 0;
  socket.on("data", (data) => (answers += count(data.toString("latin1"), /HTTP\/1\.1 200 /g)));
  socket.on("error", () => {});
  // In pieces: what is written as one stays counted as unsent until all of it is gone.
  let taken = 0;
  const piece = 256 * 1024;
  const next = () => {
    taken += piece;
    if (taken < offered.length) socket.write(offered.subarray(taken, taken + piece), next);
  };
  socket.write(offered.subarray(0, piece), next);
  await until(() => answers >= 100, "a hundred answers");
  // Each answer once let another half megabyte in. Both kernel buffers hold a few megabytes at most.
  expect(taken).toBeLessThan(32 * 2 ** 20);
  socket.destroy();
});

test("answers of ours to a hundred thousand pipelined requests do not hold up another client", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using proxy = await startProxy(rules(up.address), engines);
  const times = 100_000;
  const greedy = net.connect(proxy.port, "127.0.0.1");
  let answers = 0;
  greedy.on("data", (data) => (answers += count(data.toString("latin1"), /HTTP\/1\.1 404 /g)));
  greedy.on("error", () => {});
  greedy.write("GET / HTTP/1.1\r\nHost: unknown\r\n\r\n".repeat(times));
  await until(() => answers > 0, "the first answers");
  const other = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  expect(other.status).toBe(200);
  expect(answers).toBeLessThan(times / 2);
  await until(() => answers >= times - 100, "nearly all answers");
  greedy.destroy();
});

test("a head larger than what may wait still comes in behind another request", async () => {
  await using up = await startOrigin((request, response) => void response.end(`${request.url}`));
  await using proxy = await startProxy(rules(up.address), { ...engines, max_header_bytes: 256 * 1024 });
  const socket = net.connect(proxy.port, "127.0.0.1");
  let text = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  const big = "X: y\r\n".repeat(100) + `Z: ${"z".repeat(200 * 1024)}\r\n`;
  socket.write(`GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: unknown\r\n${big.slice(0, 150_000)}`);
  await until(() => text.includes("/1"), "the first answer");
  socket.write(`${big.slice(150_000)}\r\n`);
  await until(() => text.includes("HTTP/1.1 404 "), "the second answer");
  socket.destroy();
});
