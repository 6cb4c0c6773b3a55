/** At the limit of open files the proxy turns new clients away, serves the ones it has, and does not spin. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { freePort, program, temporaryFolder } from "../cli/program.ts";
import { startOrigin, type Origin, type Respond } from "../support/origins.ts";
import { until } from "../support/proxy.ts";

setDefaultTimeout(60_000);

const filesMax = 96;

/** The program with a small `ulimit -n`; both limits, since Bun raises the soft one to the hard one at start. */
async function startSmall(up: Origin) {
  const folder = temporaryFolder();
  const port = freePort();
  const logFile = join(folder.path, "log.txt");
  const main = join(folder.path, "main.yaml");
  writeFileSync(
    main,
    `proxy_address_http: 127.0.0.1:${port}\nupstreams_conf: ${folder.path}/upstreams.yaml\nlog_file: ${logFile}\n` +
      "log_level: info\nlistener_engine: socket\nupstream_engine: socket\nmax_connections: 1000\nmax_upstream_connections: 1000\n",
  );
  writeFileSync(
    join(folder.path, "upstreams.yaml"),
    `upstreams: { DEFAULT: { paths: { "/": { servers: ["${up.address}"], healthcheck: false } } } }\n`,
  );
  const child = Bun.spawn(["sh", "-c", `ulimit -n ${filesMax} && exec "$0" "$@"`, ...program, "-c", main], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
  const log = () => readFileSync(logFile, "utf8");
  await until(() => {
    try {
      return log().includes(" in force: ");
    } catch {
      return false;
    }
  }, "the first rules");
  return {
    port,
    log,
    /** CPU time used so far, in ms (proc(5): the kernel counts in 1/100 s) */
    cpuMs() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      folder[Symbol.dispose]();
    },
  };
}

interface Client {
  readonly socket: net.Socket;
  text: string;
  ended: boolean;
}

function connect(port: number): Promise<Client> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1");
    const client: Client = { socket, text: "", ended: false };
    socket.on("data", (data) => (client.text += data.toString("latin1")));
    socket.on("close", () => (client.ended = true));
    socket.on("error", () => (client.ended = true));
    socket.once("connect", () => resolve(client));
    socket.once("error", reject);
  });
}

const request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const is = (client: Client, status: number) => client.text.startsWith(`HTTP/1.1 ${status} `);
const quiet: Respond = (_, response) => void response.end("ok");

/** A proxy that spins uses all of the time. */
async function expectRest(proxy: { cpuMs(): number }) {
  const before = proxy.cpuMs();
  await Bun.sleep(1_500);
  expect(proxy.cpuMs() - before).toBeLessThan(750);
}

test("more clients than files: 503 for the surplus, the others go on, one warning, no spinning [1]", async () => {
  await using up = await startOrigin(quiet);
  await using proxy = await startSmall(up);
  const first = await connect(proxy.port);
  first.socket.write(request);
  await until(() => is(first, 200), "the first answer");
  const crowd = await Promise.all(Array.from({ length: 3 * filesMax }, () => connect(proxy.port)));
  await until(() => crowd.filter((client) => client.ended).length > filesMax, "refusals");
  await expectRest(proxy);
  // Nobody hangs in the kernel's queue: each was let in or told.
  const turnedAway = crowd.filter((client) => is(client, 503));
  const inside = crowd.filter((client) => !client.ended);
  expect(turnedAway.length + inside.length).toBe(crowd.length);
  expect(inside.length).toBeLessThan(filesMax);
  expect(inside.length).toBeGreaterThan(filesMax / 2);
  for (const client of [first, inside.at(-1)!]) {
    client.text = "";
    client.socket.write(request);
    await until(() => is(client, 200), "an answer for a client that was let in");
  }
  expect(proxy.log().match(/WARN client - 503 to \d+ new connections: too many open files/g)).toHaveLength(1);
  for (const { socket } of crowd) socket.destroy();
  await until(async () => {
    const late = await connect(proxy.port);
    late.socket.write(request);
    await until(() => late.text !== "" || late.ended, "an answer or an end");
    late.socket.destroy();
    return is(late, 200);
  }, "room for new clients");
  first.socket.destroy();
});

test("upstream connections that take the last files: new clients get 503 instead of a spinning proxy [2]", async () => {
  let release = () => {};
  const waiting = new Promise<void>((resolve) => (release = resolve));
  await using up = await startOrigin(async (_, response) => {
    await waiting;
    response.end("ok");
  });
  await using proxy = await startSmall(up);
  const clients = await Promise.all(Array.from({ length: Math.floor(filesMax * 0.6) }, () => connect(proxy.port)));
  for (const { socket } of clients) socket.write(request);
  await until(() => clients.some((client) => is(client, 503)), "a request without a file for its upstream connection");
  const late = await Promise.all(Array.from({ length: 10 }, () => connect(proxy.port)));
  await until(() => late.every((client) => client.ended), "the end of all that came too late");
  expect(late.map((client) => client.text.slice(0, 12))).toEqual(Array(10).fill("HTTP/1.1 503"));
  await expectRest(proxy);
  release();
  await until(() => clients.every((client) => is(client, 200) || is(client, 503)), "all answers");
  expect(clients.filter((client) => is(client, 200)).length).toBeGreaterThan(0);
  for (const { socket } of clients) socket.destroy();
});
