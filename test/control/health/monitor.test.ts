import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { HealthMonitor, type Target } from "../../../src/control/health/monitor.ts";
import { healthKey, type Fact } from "../../../src/data/upstream/ledger.ts";
import type { Probe, Wire } from "../../../src/data/upstream/endpoint.ts";
import type { DialAddress } from "../../../src/lib/address.ts";
import { probesInFlightMax } from "../../../src/lib/limits.ts";
import * as servers from "./servers.ts";

const monitors: HealthMonitor[] = [];

afterEach(() => {
  for (const monitor of monitors.splice(0)) monitor.stop();
  servers.closeServers();
});

function start() {
  const facts: Fact[] = [];
  const lines: string[] = [];
  const detected: [string, Wire | undefined][] = [];
  const monitor = new HealthMonitor({
    onFact: (fact) => void facts.push(fact),
    onDetected: (name, wire) => void detected.push([name, wire]),
    log: (level, text) => void lines.push(`${level} ${text}`),
  });
  monitors.push(monitor);
  return { monitor, facts, lines, detected };
}

function target(address: DialAddress, changes: Partial<Probe> = {}): Target {
  const probe = servers.probe(changes);
  return { key: healthKey(address, probe, { maxFails: 3, failMs: 5_000 }), address, probe };
}

const name = ({ address }: servers.Origin) => `${address.host}:${address.port}`;

describe("the first verdict", () => {
  test("comes for every target, up or down, and `settled` waits for it", async () => {
    const { monitor, facts, lines, detected } = start();
    const [up, secure, gone] = [await servers.plain(), await servers.secure(), await servers.refused()];
    const targets = [target(up.address), target(secure.address), target(gone)];
    monitor.follow(targets);
    await monitor.settled();
    const told = new Map(facts.map((fact) => [fact.key, fact]));
    expect(told.get(targets[0]!.key)).toEqual({ key: targets[0]!.key, up: true, cause: "" });
    expect(told.get(targets[1]!.key)).toEqual({ key: targets[1]!.key, up: true, cause: "" });
    expect(told.get(targets[2]!.key)).toEqual({ key: targets[2]!.key, up: false, cause: "connection refused" });
    const wires = new Map<string, Wire | undefined>([
      [name(up), "http"],
      [name(secure), "https"],
      [`127.0.0.1:${gone.port}`, undefined],
    ]);
    expect(new Map(detected)).toEqual(wires);
    expect(lines).toEqual([`warn 127.0.0.1:${gone.port} is down: connection refused`]);
    expect(monitor.snapshot().facts).toHaveLength(3);
    expect(monitor.snapshot().wires).toEqual(wires);
  });

  test("of nothing at all is there at once", async () => {
    const { monitor } = start();
    await monitor.settled();
    monitor.follow([]);
    await monitor.settled();
  });

  test("is asked as configured when the protocol is, without detection", async () => {
    const { monitor, facts, detected } = start();
    const origin = await servers.plain();
    monitor.follow([target(origin.address, { protocol: "h2" }), target(origin.address, { protocol: "http" })]);
    await monitor.settled();
    expect(facts.map(({ up }) => up).sort()).toEqual([false, true]);
    expect(detected).toEqual([]);
  });

  test("with `https` asks only which HTTP: plain servers stay down", async () => {
    const { monitor, facts, detected } = start();
    const [secure, plain] = [await servers.secure(), await servers.plain()];
    monitor.follow([secure, plain].map(({ address }) => target(address, { protocol: "https" })));
    await monitor.settled();
    expect(facts.map(({ up }) => up).sort()).toEqual([false, true]);
    expect(detected).toContainEqual([name(secure), "https"]);
  });

  test("of targets that share an endpoint needs one detection", async () => {
    const { monitor, facts, detected } = start();
    const origin = await servers.plain();
    const first = await servers.relay(origin);
    monitor.follow(["/a", "/b", "/c"].map((path) => target(first.address, { path, intervalMs: 60_000 })));
    await monitor.settled();
    expect(facts.filter(({ up }) => up)).toHaveLength(3);
    expect(detected).toEqual([[name(first), "http"]]);
    // The ClientHello, the plain question, and three checks.
    expect(first.accepted).toBe(5);
  });
});

describe("a change of state", () => {
  test("needs `fall` failures or `rise` successes in a row, and is logged once each way", async () => {
    const { monitor, facts, lines } = start();
    let status = 200;
    let asked = 0;
    const origin = await servers.plain((_q, response) => {
      asked++;
      response.writeHead(status).end();
    });
    monitor.follow([target(origin.address, { intervalMs: 10, fall: 3, rise: 2 })]);
    await monitor.settled();
    status = 503;
    const askedBefore = asked;
    await servers.until(() => facts.length === 2, "it is down");
    // One check may have been under way when the status changed.
    expect(asked - askedBefore).toBeWithin(3, 6);
    expect(facts[1]).toMatchObject({ up: false, cause: "answered 503" });
    status = 200;
    await servers.until(() => facts.length === 3, "it is up");
    expect(facts[2]).toMatchObject({ up: true, cause: "" });
    expect(lines).toEqual([`warn ${name(origin)} is down: answered 503`, `info ${name(origin)} is up again`]);
  });

  test("is not told of a server that flaps faster than that", async () => {
    const { monitor, facts } = start();
    let asked = 0;
    const origin = await servers.plain((_q, response) => void response.writeHead(asked++ % 3 === 0 ? 200 : 500).end());
    monitor.follow([target(origin.address, { protocol: "http", intervalMs: 5, fall: 3, rise: 2 })]);
    await servers.until(() => asked > 30, "it was asked often");
    expect(facts).toHaveLength(1);
  });

  test("a server that was down at the start comes back by itself, in the protocol it then speaks", async () => {
    const { monitor, facts, lines, detected } = start();
    const address = await servers.refused();
    monitor.follow([target(address, { intervalMs: 20 })]);
    await monitor.settled();
    expect(facts[0]).toMatchObject({ up: false });
    await servers.plain(servers.answer200, address.port);
    await servers.until(() => facts.length === 2, "it is up");
    expect(facts[1]).toMatchObject({ up: true });
    const shown = `127.0.0.1:${address.port}`;
    expect(detected).toEqual([
      [shown, undefined],
      [shown, "http"],
    ]);
    expect(lines).toEqual([`warn ${shown} is down: connection refused`, `info ${shown} is up again`]);
  });

  test("a server that changes from plain to TLS is detected anew, though it answers plain requests with 400", async () => {
    const { monitor, detected } = start();
    const inner = await servers.secure();
    let secure = false;
    const origin = await servers.raw((socket) => {
      socket.once("data", (first: Buffer) => {
        if (secure && first[0] === 0x16) {
          void Bun.connect({
            hostname: "127.0.0.1",
            port: inner.address.port,
            socket: {
              open: (upstream) => {
                upstream.write(first);
                socket.on("data", (chunk: Buffer) => void upstream.write(chunk));
                socket.on("close", () => upstream.terminate());
              },
              data: (_upstream, chunk) => void socket.write(chunk),
              close: () => void socket.destroy(),
            },
          });
        } else
          socket.end(`HTTP/1.1 ${secure || first[0] === 0x16 ? "400 Bad" : "200 OK"}\r\nContent-Length: 0\r\n\r\n`);
      });
    });
    monitor.follow([target(origin.address, { intervalMs: 20 })]);
    await monitor.settled();
    secure = true;
    await servers.until(() => detected.length === 2, "it is detected anew");
    expect(detected).toEqual([
      [name(origin), "http"],
      [name(origin), "https"],
    ]);
  });

  test("of one endpoint asked for many routes gives one line", async () => {
    const { monitor, facts, lines } = start();
    const origin = await servers.plain();
    monitor.follow(["/a", "/b", "/c"].map((path) => target(origin.address, { path, intervalMs: 10 })));
    await monitor.settled();
    await origin.close();
    await servers.until(() => facts.length === 6, "all are down");
    expect(lines).toEqual([`warn ${name(origin)} is down: connection refused`]);
    await servers.plain(servers.answer200, origin.address.port);
    await servers.until(() => facts.length === 9, "all are up");
    expect(lines.slice(1)).toEqual([`info ${name(origin)} is up again`]);
  });

  test("of one path among several names it", async () => {
    const { monitor, lines } = start();
    const origin = await servers.plain(
      (request, response) => void response.writeHead(request.url === "/b" ? 503 : 200).end(),
    );
    monitor.follow(["/a", "/b"].map((path) => target(origin.address, { path })));
    await monitor.settled();
    expect(lines).toEqual([`warn ${name(origin)} (HEAD up.test/b) is down: answered 503`]);
  });
});

describe("a reload", () => {
  test("keeps clock and state of targets that stay, starts new ones, ends the others", async () => {
    const { monitor, facts } = start();
    const counts = { "/stay": 0, "/go": 0, "/come": 0 } as Record<string, number>;
    const origin = await servers.plain((request, response) => {
      counts[request.url!]!++;
      response.end();
    });
    const at = (path: string, intervalMs: number) => target(origin.address, { protocol: "http", path, intervalMs });
    monitor.follow([at("/stay", 60_000), at("/go", 10)]);
    await monitor.settled();
    for (let i = 0; i < 20; i++) monitor.follow([at("/stay", 60_000), at("/come", 10)]);
    const gone = counts["/go"]!;
    await monitor.settled();
    await servers.until(() => counts["/come"]! > 10, "the new one is asked");
    expect(counts["/stay"]).toBe(1);
    // A check under way at the reload may still arrive.
    expect(counts["/go"]! - gone).toBeWithin(0, 2);
    expect(facts.map(({ up }) => up)).toEqual([true, true, true]);
    expect(monitor.snapshot().facts).toHaveLength(2);
  });

  test("that changes the interval goes by the new one", async () => {
    const { monitor } = start();
    let asked = 0;
    const origin = await servers.plain((_q, response) => {
      asked++;
      response.end();
    });
    const at = (intervalMs: number) => target(origin.address, { protocol: "http", intervalMs });
    monitor.follow([at(60_000)]);
    await monitor.settled();
    expect(asked).toBe(1);
    monitor.follow([at(10)]);
    await servers.until(() => asked > 10, "it is asked often");
  });

  test("tells a new target of a known endpoint what the endpoint speaks", async () => {
    const { monitor, detected } = start();
    const origin = await servers.plain();
    monitor.follow([target(origin.address)]);
    await monitor.settled();
    monitor.follow([target(origin.address), target(origin.address, { path: "/new" })]);
    expect(detected).toEqual([
      [name(origin), "http"],
      [name(origin), "http"],
    ]);
  });

  test("that removes a target in the middle of its check releases who waits for it", async () => {
    const { monitor, facts } = start();
    const origin = await servers.silent();
    monitor.follow([target(origin.address, { timeoutMs: 60_000 })]);
    await servers.until(() => origin.connections.size > 0, "it is asked");
    const settled = monitor.settled();
    monitor.follow([]);
    await settled;
    await servers.until(() => origin.connections.size === 0, "the connection is closed");
    expect(facts).toEqual([]);
  });
});

describe("many targets", () => {
  test("1,000 are asked at once, never more than the limit together", async () => {
    const { monitor, facts } = start();
    let most = 0;
    const origin: servers.Origin = await servers.plain((_q, response) => {
      most = Math.max(most, origin.connections.size);
      response.end();
    });
    monitor.follow(
      Array.from({ length: 1_000 }, (_, i) =>
        target(origin.address, { protocol: "http", path: `/${i}`, intervalMs: 60_000, timeoutMs: 30_000 }),
      ),
    );
    await monitor.settled();
    expect(facts.filter(({ up }) => up)).toHaveLength(1_000);
    expect(most).toBeWithin(2, probesInFlightMax + 1);
  }, 60_000);

  test("a server that never answers does not hold up the others", async () => {
    const { monitor, facts } = start();
    let asked = 0;
    const quick = await servers.plain((_q, response) => {
      asked++;
      response.end();
    });
    const slow = await servers.silent();
    monitor.follow([
      target(slow.address, { protocol: "http", timeoutMs: 60_000 }),
      target(quick.address, { protocol: "http", intervalMs: 10 }),
    ]);
    await servers.until(() => asked > 20, "the quick one was asked often");
    expect(facts).toHaveLength(1);
    // Its one check is still under way: no second one was begun.
    expect(slow.accepted).toBe(1);
  });
});

test("stop ends timers and checks in flight, so that the process exits by itself", async () => {
  const silent = await servers.silent();
  const plain = await servers.plain();
  const child = Bun.spawn(
    [
      process.execPath,
      join(import.meta.dir, "stopped-monitor.ts"),
      String(silent.address.port),
      String(plain.address.port),
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  expect(await new Response(child.stdout).text()).toBe("stopped\n");
  expect(await child.exited).toBe(0);
  await servers.until(() => silent.connections.size === 0, "its connections are closed");
}, 30_000);
