/** Reload after reload under load: nothing is dropped, nothing piles up. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { startClient } from "../support/ask.ts";
import { startNginx } from "../support/nginx.ts";
import { long, mebibytes, memoryBytes, openFiles, readLoad, startWrk } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { until } from "../support/proxy.ts";
import { startOrigin } from "../support/websocket-bridge.ts";

setDefaultTimeout(long ? 900_000 : 120_000);

const reloads = long ? 1_000 : 60;
/** The short run ends before the garbage collector has found its rhythm. */
const growthMiBMax = long ? 16 : 64;
const webSockets = 5;

/** An open WebSocket that says a word now and then and hears it back. */
class Talk {
  heard = 0;
  said = 0;
  closed = "";
  readonly #socket: WebSocket;

  constructor(url: string) {
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = () => this.heard++;
    this.#socket.onclose = ({ code, reason }) => (this.closed = `closed with ${code} ${reason}`);
  }

  get open(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  say(): void {
    this.#socket.send(`word ${this.said++}`);
  }

  end(): void {
    this.#socket.close(1000);
  }
}

test(`${reloads} reloads under load fail no request, close no WebSocket and leave no memory behind`, async () => {
  await using nginx = await startNginx({
    server: `keepalive_requests 1000000; location = /hello { return 200 "hello"; }`,
  });
  const { origin, port } = await startOrigin();
  await using _ = origin;
  const base = (mark: string, routes: string) => `
client_headers: ["X-Rules: ${mark}"]
upstreams:
  DEFAULT:
    paths:
      "/": { servers: ["${nginx.address}"] }
      "/echo": { healthcheck: false, servers: ["127.0.0.1:${port}"] }
${routes}`;
  const others = Array.from(
    { length: 100 },
    (_, i) =>
      `  h${i}.test: { paths: { "/": { sticky_sessions: 600, server_headers: ["X-I: ${i}"], servers: ["${nginx.address}", "127.0.0.1:9"] } } }`,
  );
  const files = [base("a", ""), base("b", others.join("\n"))] as const;
  await using proxy = await startProxyProcess(files[0]);
  using client = startClient(proxy.port, "a.test", 1);
  const talks = Array.from({ length: webSockets }, () => new Talk(`ws://127.0.0.1:${proxy.port}/echo`));
  await until(() => talks.every((talk) => talk.open), "the WebSockets to open");
  await using wrk = startWrk(`${proxy.url}/hello`, 20, 3_600);

  const residentBytes: number[] = [];
  const descriptors: number[] = [];
  const startMs = performance.now();
  for (let turn = 1; turn <= reloads; turn++) {
    const mark = turn % 2 === 1 ? "b" : "a";
    proxy.write(files[turn % 2]!);
    await until(
      async () => (await client.ask({ target: "/hello" })).fields.get("x-rules") === mark,
      `reload ${turn} to be in force`,
    );
    for (const talk of talks) talk.say();
    residentBytes[turn] = memoryBytes(proxy.pid, "VmRSS");
    descriptors[turn] = openFiles(proxy.pid);
  }
  const seconds = (performance.now() - startMs) / 1000;
  wrk.signal("SIGINT");
  await wrk.end();
  const load = readLoad(wrk.output);
  await until(() => talks.every(({ heard }) => heard === reloads), "every word to be heard back");

  const [half, whole] = [residentBytes[reloads / 2]!, residentBytes[reloads]!];
  console.log(
    `${reloads} reloads in ${seconds.toFixed(1)} s under ${Math.round(load.requestsPerSecond)} requests/s (${load.requests} in all): ` +
      `${mebibytes(residentBytes[1]!)} after reload 1, ${mebibytes(half)} after ${reloads / 2}, ${mebibytes(whole)} after ${reloads}; ` +
      `descriptors ${descriptors[1]} → ${descriptors[reloads]}`,
  );
  expect(load).toMatchObject({ socketErrors: 0, refusals: 0 });
  expect(load.requests).toBeGreaterThan(reloads);
  expect(talks.map(({ closed }) => closed)).toEqual(talks.map(() => ""));
  for (const talk of talks) talk.end();
  expect((whole - half) / 1024 / 1024).toBeLessThanOrEqual(growthMiBMax);
  expect(descriptors[reloads]! - descriptors[reloads / 2]!).toBeLessThanOrEqual(50);
  expect(proxy.faults()).toBe("");
});
