/** Run by monitor.test.ts: starts a monitor, stops it in the middle of its checks, and then has nothing left to do. */
import { HealthMonitor } from "../../../src/control/health/monitor.ts";
import { probe } from "./servers.ts";

const ports = process.argv.slice(2).map(Number);
const monitor = new HealthMonitor({
  onFact: () => {
    monitor.stop();
    console.log("stopped");
  },
  onDetected: () => {},
  log: () => {},
});
monitor.follow(
  ports.flatMap((port) =>
    (["http", "https", "h2c"] as const).map((protocol) => ({
      key: `${port} ${protocol}`,
      address: { host: "127.0.0.1", port },
      probe: probe({ protocol, timeoutMs: 600_000, intervalMs: 600_000 }),
    })),
  ),
);
