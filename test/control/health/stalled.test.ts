/** A check that timed out because this process stood still says nothing about the server. */
import { expect, test } from "bun:test";
import { HealthMonitor, type Target } from "../../../src/control/health/monitor.ts";
import type { Fact } from "../../../src/data/upstream/ledger.ts";
import { startRawOrigin } from "../../support/origins.ts";
import { until } from "../../support/proxy.ts";

function targetOf(port: number, timeoutMs: number): Target {
  return {
    key: "k",
    address: { host: "127.0.0.1", port },
    probe: {
      protocol: "http",
      method: "GET",
      path: "/",
      host: "a.test",
      serverName: "",
      verify: false,
      caFile: undefined,
      expect: [[200, 499]],
      intervalMs: 1_000,
      timeoutMs,
      rise: 2,
      fall: 3,
    },
  };
}

function stand(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test("a process that stands still during a check does not take its servers out", async () => {
  let asked = 0;
  await using up = await startRawOrigin((socket) => {
    // The first answer comes when the time is over: nobody was there to read or write.
    if (asked++ === 0) stand(300);
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  const facts: Fact[] = [];
  const monitor = new HealthMonitor({ onFact: (fact) => facts.push(fact), onDetected() {}, log() {} });
  try {
    monitor.follow([targetOf(up.port, 200)]);
    await until(() => facts.length > 0, "a verdict");
    expect(facts).toEqual([{ key: "k", up: true, cause: "" }]);
    expect(asked).toBeGreaterThanOrEqual(1);
  } finally {
    monitor.stop();
  }
});

test("a server that does not answer is down, however busy we are, after a few excuses", async () => {
  await using up = await startRawOrigin(() => {});
  const facts: Fact[] = [];
  const monitor = new HealthMonitor({ onFact: (fact) => facts.push(fact), onDetected() {}, log() {} });
  const busy = setInterval(() => stand(60), 70);
  try {
    monitor.follow([targetOf(up.port, 100)]);
    await until(() => facts.length > 0, "a verdict");
    expect(facts[0]).toMatchObject({ up: false });
  } finally {
    clearInterval(busy);
    monitor.stop();
  }
});
