/** Above max_connections: the 503 arrives, whatever the client sends meanwhile, and is counted. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { lingerMs } from "../../src/lib/limits.ts";
import { temporaryFolder } from "../cli/program.ts";
import { needsOurProcess } from "../support/child-proxy.ts";
import { startOrigin } from "../support/origins.ts";
import { oneProcess, startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const engines = { listener_engine: "socket", upstream_engine: "socket" } as const;
const rules = (address: string) => `upstreams: { a.test: { paths: { "/": { servers: ["${address}"] } } } }`;
const request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

/** Occupies so many connections, each with an answer behind it. */
async function occupy(port: number, count: number): Promise<net.Socket[]> {
  const sockets = Array.from({ length: count }, () => net.connect(port, "127.0.0.1"));
  const answered = sockets.map(
    (socket) =>
      new Promise<string>((resolve) => {
        socket.once("data", (data) => resolve(data.toString("latin1")));
        socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
      }),
  );
  for (const text of await Promise.all(answered)) expect(text).toStartWith("HTTP/1.1 200");
  return sockets;
}

test("a request that was sent before the refusal resets nothing: the client reads its 503 and an orderly end", async () => {
  if (needsOurProcess("makes the proxy stand still while its clients send")) return;
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using proxy = await startProxy(rules(up.address), { ...engines, ...oneProcess, max_connections: 1 });
  const [inside] = await occupy(proxy.plainPort, 1);
  const script = `const told = await Promise.all(Array.from({ length: 20 }, () => new Promise((resolve) => {
       const socket = net.connect({ port: ${proxy.plainPort}, host: "127.0.0.1", allowHalfOpen: true });
       let text = "";
       socket.on("connect", () => (socket.write("POST / HTTP/1.1\\r\\nHost: a.test\\r\\nContent-Length: 100000\\r\\n\\r\\n" + "x".repeat(100000)), sent()));
       socket.on("data", (data) => (text += data));
       socket.on("end", () => (socket.end(), resolve(text.slice(0, 12) + ", end")));
       socket.on("error", (error) => resolve(text.slice(0, 12) + ", " + error.code));
     })));
     console.log(JSON.stringify(told));`;
  let times = 0;
  let told: Awaited<ReturnType<typeof beforeAccept>>;
  // Those turned away are read on for so long: clients that a busy machine held up for longer say nothing about the proxy.
  do {
    told = await beforeAccept(script, 20);
    times++;
  } while (told.ms >= lingerMs && times < 10);
  expect(JSON.parse(told.out)).toEqual(Array(20).fill("HTTP/1.1 503, end"));
  const refusals = () => proxy.log().match(/DEBUG client - 503 to 127\.0\.0\.1: too_many_connections/g)?.length ?? 0;
  await until(() => refusals() >= 20 * times, "a line for each");
  expect(refusals()).toBe(20 * times);
  await proxy.logged(/WARN client - 503 to 1 new connections: max_connections \(1\) are open/);
  if (times === 1) expect(proxy.log().match(/ WARN client - 503 /g)).toHaveLength(1);
  inside!.destroy();
  await until(async () => (await raw(proxy.plainPort, request)).status === 200, "room again");
}, 120_000);

test("those turned away do not hold a shutdown", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using proxy = await startProxy(rules(up.address), { ...engines, ...oneProcess, max_connections: 1 });
  const [inside] = await occupy(proxy.plainPort, 1);
  const late = net.connect({ port: proxy.plainPort, host: "127.0.0.1", allowHalfOpen: true });
  let over = false;
  late.on("error", () => {});
  late.on("close", () => (over = true));
  const text = await new Promise<string>((resolve) => late.once("data", (data) => resolve(data.toString("latin1"))));
  expect(text).toStartWith("HTTP/1.1 503");
  await proxy.running.stop(60_000);
  late.end();
  await until(() => over, "the end of the connection turned away");
  inside!.destroy();
});

test("a client that resets its connection before it is accepted is no fault of the proxy", async () => {
  if (needsOurProcess("makes the proxy stand still while its clients send")) return;
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using proxy = await startProxy(rules(up.address), engines);
  await beforeAccept(
    `for (let i = 0; i < 20; i++) {
       const socket = net.connect(${proxy.port}, "127.0.0.1");
       socket.on("connect", () => (socket.resetAndDestroy(), sent()));
     }`,
    20,
  );
  expect((await raw(proxy.port, request)).status).toBe(200);
  // Writes what waits.
  proxy.running.reopenLogs();
  expect(proxy.log()).not.toContain("a fault of the proxy itself");
});

/**
 * Runs a script in a process of its own while this one, the proxy, stands still: until `sent()` was called so many times.
 * @returns what it wrote on stdout, and how long it took from the moment when the proxy went on
 */
async function beforeAccept(script: string, times: number): Promise<{ out: string; ms: number }> {
  using folder = temporaryFolder();
  const marker = join(folder.path, "sent");
  const sent = `let left = ${times}; const sent = () => { if (--left === 0) require("node:fs").writeFileSync(${JSON.stringify(marker)}, ""); };`;
  const child = Bun.spawn([process.execPath, "-e", `const net = require("node:net"); ${sent} ${script}`], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    timeout: 60_000,
  });
  const deadline = performance.now() + 45_000;
  while (!existsSync(marker)) {
    if (performance.now() > deadline) throw new Error("the clients did not send");
    Bun.sleepSync(5);
  }
  const onMs = performance.now();
  const out = await child.stdout.text();
  await child.exited;
  return { out, ms: performance.now() - onMs };
}
