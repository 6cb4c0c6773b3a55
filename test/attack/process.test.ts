/** The real program under clients that leave, files that are rewritten, descriptors that run out, and signals. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { startOrigin } from "../support/origins.ts";
import { openFiles } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const rules = (address: string, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"] }${more} } } }\n`;
const get = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

/** Answers when asked for /, never for /silent, half for /half. */
async function startSlow() {
  let connections = 0;
  const server = createServer((request, response) => {
    if (request.url === "/silent") return;
    if (request.url === "/half") return void response.write("x");
    request.resume().on("end", () => response.end("ok"));
  });
  server.on("connection", (socket) => {
    connections++;
    socket.on("close", () => connections--);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

test("thousands of clients that leave at any point leave no connection and no descriptor behind", async () => {
  using upstream = await startSlow();
  await using proxy = await startProxyProcess(rules(upstream.address));
  const before = openFiles(proxy.pid);
  const starts = [
    "GET /silent HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc",
    "GET / HTTP/1.1\r\nHo",
    "GET /silent HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  ];
  let left = 3_000;
  const leave = async () => {
    while (left-- > 0) {
      const bytes = starts[left % starts.length]!;
      await new Promise<void>((resolve) => {
        const client = net.connect(proxy.port, "127.0.0.1");
        client.on("error", () => {});
        client.on("close", () => resolve());
        client.on("connect", () =>
          client.write(bytes, () =>
            setTimeout(() => (left % 2 ? client.destroy() : client.resetAndDestroy()), left % 20),
          ),
        );
      });
    }
  };
  await Promise.all(Array.from({ length: 50 }, leave));
  await until(() => openFiles(proxy.pid) <= before + 4, "descriptors to be closed");
  await until(() => upstream.connections <= 4, "upstream connections to be closed");
  expect((await raw(proxy.port, get)).status).toBe(200);
  expect(proxy.faults()).toBe("");
}, 60_000);

test("a file rewritten 200 times, often badly, costs no request; the last content is in force", async () => {
  await using origin = await startOrigin();
  await using proxy = await startProxyProcess(rules(origin.address));
  const statuses = new Set<number>();
  let writing = true;
  const asking = (async () => {
    while (writing) statuses.add((await raw(proxy.port, get)).status);
  })();
  const file = join(proxy.folder, "upstreams.yaml");
  for (let i = 0; i < 200; i++) {
    writeFileSync(
      `${file}.new`,
      i % 3 === 0 ? "upstreams: [" : rules(origin.address, `, "/p": { redirect_to: "/${i}" }`),
    );
    renameSync(`${file}.new`, file);
    await Bun.sleep(2);
  }
  const location = async () =>
    (await raw(proxy.port, get.replace("/", "/p"))).fields.find(([name]) => name === "location")?.[1];
  await until(async () => (await location())?.startsWith("/199/"), "the last good content");
  writing = false;
  await asking;
  expect([...statuses]).toEqual([200]);
}, 60_000);

test("descriptors that run out here are not taken for an upstream that is down", async () => {
  using upstream = await startSlow();
  const folder = mkdtempSync(join(tmpdir(), "aralez-fds-"));
  const port = freePort();
  const log = join(folder, "log.txt");
  writeFileSync(join(folder, "u.yaml"), rules(upstream.address));
  writeFileSync(
    join(folder, "main.yaml"),
    `upstreams_conf: u.yaml\nproxy_address_http: 127.0.0.1:${port}\nhc_interval: 0.2\nlog_file: ${log}\nmax_connections: 1000\nmax_upstream_connections: 1000\n`,
  );
  const main = join(import.meta.dir, "../../src/main.ts");
  const child = Bun.spawn(
    ["bash", "-c", 'ulimit -n 100; exec "$@"', "bash", process.execPath, main, "-c", join(folder, "main.yaml")],
    {
      cwd: tmpdir(),
      stdout: "ignore",
      stderr: "ignore",
    },
  );
  const held: net.Socket[] = [];
  const told = () => readFileSync(log, { encoding: "utf8", flag: "a+" });
  try {
    await until(() => / in force: /.test(told()), "the proxy");
    // Clients alone are turned away below the limit; what their requests need upstream takes the rest.
    for (let i = 0; i < 60; i++) {
      const socket = net.connect(port, "127.0.0.1").on("error", () => {});
      held.push(socket);
      await new Promise((resolve) => socket.once("connect", resolve));
    }
    for (const socket of held) socket.write("GET /silent HTTP/1.1\r\nHost: a.test\r\n\r\n");
    // The health checks of three seconds find no descriptor, but for the one that accepting keeps.
    await until(() => openFiles(child.pid) >= 98, "the limit");
    const endMs = performance.now() + 3_000;
    await until(() => performance.now() > endMs || /is down/.test(told()), "some health checks");
    expect(told()).not.toMatch(/is down/);
    for (const socket of held) socket.destroy();
    await until(async () => (await raw(port, get)).status === 200, "the first answer after it");
  } finally {
    for (const socket of held) socket.destroy();
    child.kill("SIGKILL");
    await child.exited;
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);

test("requests that the end of the drain cuts have their access line", async () => {
  using upstream = await startSlow();
  await using proxy = await startProxyProcess(
    rules(upstream.address),
    "graceful_shutdown_timeout_seconds: 0.5\naccess_log: all",
  );
  const cut = ["GET /silent", "GET /half", "POST /"].map((line) =>
    raw(
      proxy.port,
      `${line} HTTP/1.1\r\nHost: a.test\r\n${line.startsWith("POST") ? "Content-Length: 9\r\n\r\nabc" : "\r\n"}`,
      10_000,
    ),
  );
  await until(() => upstream.connections >= 2, "the requests");
  process.kill(proxy.pid, "SIGTERM");
  await Promise.all(cut);
  const log = join(proxy.folder, "log.txt");
  await until(() => /proxy - stopped/.test(readFileSync(log, "utf8")), "the end");
  expect(readFileSync(log, "utf8").match(/access - .*$/gm) ?? []).toHaveLength(3);
}, 30_000);
