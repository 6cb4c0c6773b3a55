/**
 * A service's year in a minute: reloads, certificate changes and upgrades under constant load of all kinds (HTTP/1.1 on kept
 * and new connections, HTTPS, HTTP/2, a WebSocket, a long download), and nobody notices. The whole of it: `ARALEZ_LONG=1`.
 */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { startLoad } from "../support/load-clients.ts";
import { long } from "../support/programs.ts";
import { until } from "../support/proxy.ts";
import { childrenOf, isAlive, startService, type ServiceProcess } from "../support/service.ts";
import { openTls, selfSigned, type Pem } from "../support/tls.ts";

const wanted = long
  ? { reloads: 20, changes: 10, upgrades: 5, kills: 5 }
  : { reloads: 4, changes: 3, upgrades: 2, kills: 2 };

/** TLS engine and workers. */
const setups = long
  ? ([
      ["socket", 1],
      ["bun", 1],
      ["socket", 2],
      ["bun", 2],
    ] as const)
  : ([
      ["socket", 1],
      ["socket", 2],
    ] as const);

/** Answers, echoes, and sends a number every few milliseconds for as long as somebody reads. */
function startOrigin() {
  const state = { requests: 0 };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    reusePort: false,
    idleTimeout: 0,
    fetch(request, server) {
      const { pathname } = new URL(request.url);
      state.requests++;
      if (pathname === "/ws") return server.upgrade(request) ? undefined : new Response("no", { status: 400 });
      if (pathname !== "/download") return new Response("ok");
      let timer: Timer | undefined;
      let number = 0;
      const stream = new ReadableStream<string>({
        start: (controller) => void (timer = setInterval(() => controller.enqueue(`${number++}\n`), 10)),
        cancel: () => clearInterval(timer),
      });
      return new Response(stream);
    },
    websocket: { message: (socket, text) => void socket.send(text) },
  });
  return { state, port: server.port, [Symbol.dispose]: () => void server.stop(true) };
}

/** Counts what comes back of what it sends, one after the other. */
function startWebSocket(port: number) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  const state = { echoes: 0, closed: false, wrong: 0 };
  socket.onopen = () => socket.send("0");
  socket.onclose = () => (state.closed = true);
  socket.onmessage = ({ data }) => {
    if (data !== String(state.echoes)) state.wrong++;
    state.echoes++;
    setTimeout(() => socket.readyState === WebSocket.OPEN && socket.send(String(state.echoes)), 5);
  };
  return { state, close: () => socket.close() };
}

/** Reads numbers, and looks that none is missing. */
function startDownload(port: number) {
  const state = { numbers: 0, over: false, wrong: 0 };
  const aborter = new AbortController();
  void (async () => {
    const { body } = await fetch(`http://127.0.0.1:${port}/download`, { signal: aborter.signal });
    let rest = "";
    for await (const bytes of body!) {
      const lines = (rest + new TextDecoder().decode(bytes)).split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (line !== String(state.numbers++)) state.wrong++;
    }
  })()
    .catch(() => {})
    .finally(() => (state.over = true));
  return { state, close: () => aborter.abort() };
}

async function shown(port: number): Promise<string> {
  const socket = await openTls(port, "a.test");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

const pairs = [selfSigned("a.test"), selfSigned("a.test", "rsa"), selfSigned("a.test")];

for (const [engine, threads] of setups) {
  test(`${wanted.reloads} reloads, ${wanted.changes} certificate changes and ${wanted.upgrades} upgrades under load fail no request (${engine}, threads: ${threads})`, async () => {
    using origin = startOrigin();
    const tlsPort = freePort();
    const rules = (extra = "") =>
      `upstreams: { DEFAULT: { paths: { "/": { servers: ["127.0.0.1:${origin.port}"] } } }${extra} }\n`;
    await using service = await startService(rules(), {
      settings: `listener_engine: ${engine}\nproxy_address_tls: 127.0.0.1:${tlsPort}\nproxy_configs: certs\ngraceful_shutdown_timeout_seconds: 5\nthreads: ${threads}`,
      prepare: (folder) => put(folder, pairs[0]!),
    });
    await using plain = startLoad("http", service.port, "a.test", 6, 4);
    await using secure = startLoad("https", tlsPort, "a.test", 3, 3);
    await using multiplexed = startLoad("http2", tlsPort, "a.test", 1, 4, 1);
    const socket = startWebSocket(service.port);
    const download = startDownload(service.port);
    await until(() => socket.state.echoes > 0 && download.state.numbers > 0, "the WebSocket and the download");

    for (let i = 1; i <= wanted.reloads; i++) {
      writeFileSync(
        join(service.folder, "upstreams.yaml"),
        rules(`, h${i}.test: { paths: { "/": { redirect_to: "https://x.test" } } }`),
      );
      service.signal("SIGHUP");
      await until(
        async () =>
          (await fetch(`http://127.0.0.1:${service.port}/`, { headers: { Host: `h${i}.test` }, redirect: "manual" }))
            .status === 301,
        `reload ${i}`,
      );
    }
    let before = await shown(tlsPort);
    for (let i = 1; i <= wanted.changes; i++) {
      put(service.folder, pairs[i % pairs.length]!);
      before = await until(async () => {
        const now = await shown(tlsPort);
        return now !== before && now;
      }, `certificate ${i}`);
    }
    const [echoes, numbers] = [socket.state.echoes, download.state.numbers];
    await until(
      () => socket.state.echoes > echoes && download.state.numbers > numbers,
      "the WebSocket and the download to go on",
    );
    expect({ ...socket.state, echoes: 0 }).toEqual({ echoes: 0, closed: false, wrong: 0 });
    expect({ ...download.state, numbers: 0 }).toEqual({ numbers: 0, over: false, wrong: 0 });

    const pids = [service.pid()];
    for (let i = 1; i <= wanted.upgrades; i++) {
      await upgrade(service, i);
      pids.push(service.pid());
      // The first one still has the WebSocket and the download, until its deadline.
      if (i === 1) expect(socket.state.closed || download.state.over).toBe(false);
      await until(() => !isAlive(pids.at(-2)!), "the end of the predecessor", 60);
    }
    expect(new Set(pids).size).toBe(wanted.upgrades + 1);
    const again = startWebSocket(service.port);
    await until(() => again.state.echoes > 3, "a new WebSocket");
    again.close();

    const outcome = { plain: await plain.end(), secure: await secure.end(), multiplexed: await multiplexed.end() };
    console.log(
      `${engine}, threads ${threads}: ${wanted.reloads} reloads, ${wanted.changes} certificate changes, ${wanted.upgrades} upgrades: ` +
        `${JSON.stringify(outcome)}, WebSocket ${socket.state.echoes} echoes, download ${download.state.numbers} lines`,
    );
    for (const { answered } of Object.values(outcome)) expect(answered).toBeGreaterThan(50);
    // Bun.serve does not tell its idle connections: one that was not used for a second may be met by its end, and its client
    // may repeat what it has sent (RFC 9112 9.3.1).
    const lost = Object.values(outcome).flatMap(({ failures }) => Object.keys(failures));
    expect(lost.filter((cause) => engine === "socket" || cause !== "reused ECONNRESET")).toEqual([]);
    expect(service.first.err).toBe("");
    expect(service.log()).not.toMatch(/ ERROR /);
    if (threads > 1) await killWorkers(service, tlsPort, () => origin.state.requests);
  }, 600_000);
}

/** Only what was under way on a killed worker fails, at most one request of each client. */
async function killWorkers(service: ServiceProcess, tlsPort: number, served: () => number): Promise<void> {
  // On HTTP/2 a session fails, and with it its streams, which are counted twice by their client.
  const clients = 6 + 4 + 3 + 3 + 2 * (1 + 4) + (1 + 1);
  await using plain = startLoad("http", service.port, "a.test", 6, 4);
  await using secure = startLoad("https", tlsPort, "a.test", 3, 3);
  await using multiplexed = startLoad("http2", tlsPort, "a.test", 1, 4, 1);
  const supervisor = service.pid();
  for (let i = 1; i <= wanted.kills; i++) {
    const already = served();
    await until(() => served() > already + 300, "requests", 60);
    const before = childrenOf(supervisor);
    process.kill(before[i % before.length]!, "SIGKILL");
    await until(() => {
      const now = childrenOf(supervisor);
      return now.length === before.length && now.some((pid) => !before.includes(pid));
    }, `worker ${i} to be replaced`);
    await until(async () => {
      const answer = await fetch(`http://127.0.0.1:${service.adminPort}/status`);
      const { workers } = (await answer.json()) as { workers: { state: string }[] };
      return workers.length === before.length && workers.every(({ state }) => state === "serving");
    }, "all workers to serve");
  }
  const outcome = { plain: await plain.end(), secure: await secure.end(), multiplexed: await multiplexed.end() };
  console.log(`${wanted.kills} workers killed: ${JSON.stringify(outcome)}`);
  const all = Object.values(outcome);
  const failed = all.flatMap(({ failures }) => Object.values(failures)).reduce((sum, count) => sum + count, 0);
  expect(failed).toBeLessThanOrEqual(wanted.kills * clients);
  for (const cause of all.flatMap(({ failures }) => Object.keys(failures)))
    expect(cause).toMatch(/ECONNRESET|ECONNREFUSED|EPIPE|aborted|socket hang up|session|stream|status 0/);
}

function put(folder: string, { cert, key }: Pem): void {
  const certs = join(folder, "certs");
  if (!existsSync(certs)) mkdirSync(certs);
  for (const [end, text] of [
    ["key", key],
    ["crt", cert],
  ] as const) {
    writeFileSync(join(certs, `new.${end}.tmp`), text);
    renameSync(join(certs, `new.${end}.tmp`), join(certs, `a.${end}`));
  }
}

/** By the original's two commands and by our own, in turn. */
async function upgrade(service: ServiceProcess, turn: number): Promise<void> {
  if (turn % 2 === 0) expect((await service.run("upgrade")).code).toBe(0);
  else {
    service.signal("SIGQUIT");
    expect(await service.run("-u", "-d")).toEqual({ code: 0, out: "", err: "" });
  }
}
