/** Certificates with workers: a change is served by all of them, and costs no connection. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { startOrigin } from "../support/origins.ts";
import { pathOf } from "../support/programs.ts";
import { until } from "../support/proxy.ts";
import { openTls, selfSigned, type Pem } from "../support/tls.ts";
import { startWorkers } from "../support/workers.ts";

const pairs = [selfSigned("a.test"), selfSigned("a.test", "rsa"), selfSigned("a.test")];

function put(folder: string, { cert, key }: Pem): void {
  for (const [end, text] of [
    ["key", key],
    ["crt", cert],
  ] as const) {
    writeFileSync(join(folder, `new.${end}.tmp`), text);
    renameSync(join(folder, `new.${end}.tmp`), join(folder, `a.${end}`));
  }
}

/** What so many new connections are shown: with three workers each of them is met. */
async function shown(port: number, connections = 24): Promise<Set<string>> {
  const all = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = await openTls(port, "a.test");
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    }),
  );
  return new Set(all);
}

describe("certificates that change", () => {
  for (const engine of ["socket", "bun"]) {
    test(`are served by all workers, under load (${engine})`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "aralez-certificates-"));
      try {
        put(folder, pairs[0]!);
        let asked = 0;
        await using up = await startOrigin((_, response) => void (asked++, response.end("ok")));
        const port = freePort();
        const rules = `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`;
        const settings = `listener_engine: ${engine}\nproxy_address_tls: 127.0.0.1:${port}\nproxy_configs: ${folder}`;
        await using proxy = await startWorkers(3, rules, settings);
        await proxy.serving();
        const script = join(import.meta.dir, "../support/https-clients.mjs");
        const clients = Bun.spawn([pathOf("node"), script, String(port), "a.test", "4", "8"], {
          stdin: "pipe",
          stdout: "pipe",
        });
        await until(() => asked > 50, "the load", 60);
        let [before] = await shown(port, 1);
        for (let i = 1; i <= 4; i++) {
          put(folder, pairs[i % pairs.length]!);
          before = await until(
            async () => {
              const now = await shown(port);
              return now.size === 1 && !now.has(before!) && [...now][0]!;
            },
            `change ${i} to be served by all`,
            60,
          );
        }
        await clients.stdin.end();
        const outcome = JSON.parse(await clients.stdout.text()) as { answered: number; failures: object };
        await clients.exited;
        expect(outcome.answered).toBeGreaterThan(50);
        // Bun.serve cannot change them: a kept connection of the old listener may end as its client asks again.
        const { "reused ECONNRESET": _, ...failures } = outcome.failures as Record<string, number>;
        expect(engine === "socket" ? outcome.failures : failures).toEqual({});
        expect((await proxy.workers()).map(({ restarts }) => restarts)).toEqual([0, 0, 0]);
        // A worker that joins late shows it too.
        const [victim] = await proxy.workers();
        process.kill(victim!.pid, "SIGKILL");
        await until(async () => (await proxy.serving())[0]!.pid !== victim!.pid, "another worker");
        expect(await shown(port)).toEqual(new Set([before!]));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }, 300_000);
  }
});
