/** What the kernel sees to: connections of clients that went without a word, and the queue of those that come all at once. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { madeBySelf, put, temporary } from "../../support/certificates.ts";
import { startOrigin } from "../../support/origins.ts";
import { startProxy, until } from "../../support/proxy.ts";

/** Sockets of a local port: state, peer's port, kind of timer and its hundredths of a second (Documentation/networking/proc_net_tcp). */
function socketsOf(port: number) {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return readFileSync("/proc/net/tcp", "latin1")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => local?.endsWith(`:${hex}`))
    .map(([, , remote, state, , timer]) => {
      const [kind, due] = timer!.split(":");
      return { state, peer: parseInt(remote!.split(":")[1]!, 16), kind, dueSeconds: parseInt(due!, 16) / 100 };
    });
}

const established = "01";
const keepAliveTimer = "02";

describe("tcp_keepalive_idle", () => {
  for (const engine of ["socket", "bun"] as const) {
    for (const tls of [false, true]) {
      test(`has the kernel look after clients ${tls ? "with TLS" : "in clear"} on the engine ${engine}, and is off without`, async () => {
        await using up = await startOrigin();
        using folder = temporary();
        put(folder.path, "site", madeBySelf({ names: ["DNS:localhost"], subject: "/CN=localhost" }));
        for (const idle of [300, undefined]) {
          await using proxy = await startProxy(
            `upstreams: { DEFAULT: { paths: { "/": { servers: ["${up.address}"] } } } }\n`,
            {
              listener_engine: engine,
              ...(idle !== undefined && {
                tcp_keepalive_idle: idle,
                tcp_keepalive_interval: 7,
                tcp_keepalive_count: 3,
              }),
              ...(tls && { proxy_address_tls: { hostname: "127.0.0.1", port: 0 }, proxy_configs: folder.path }),
            },
          );
          const port = tls ? proxy.tlsPort! : proxy.plainPort;
          const client = connect(port, "127.0.0.1");
          try {
            const own = await until(
              () => socketsOf(port).find(({ state, peer }) => state === established && peer === client.localPort),
              "the proxy's end of the connection",
            );
            expect(own.kind === keepAliveTimer).toBe(idle !== undefined);
            if (idle === undefined) continue;
            expect(own.dueSeconds).toBeLessThanOrEqual(idle);
            expect(own.dueSeconds).toBeGreaterThan(idle - 60);
          } finally {
            client.destroy();
          }
        }
      });
    }
  }
});
