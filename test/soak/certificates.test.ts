/** Certificates change under load, and handshakes come in bursts: nobody notices. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { startOrigin } from "../support/origins.ts";
import { long, pathOf, Program } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { until } from "../support/proxy.ts";
import { openTls, selfSigned, type Pem } from "../support/tls.ts";

const changes = 100;

interface Outcome {
  readonly answered: number;
  readonly handshakes: number;
  readonly failures: Readonly<Record<string, number>>;
}

/** The real program with a TLS port and a folder of certificates. */
async function startTlsProcess(rules: string, engine: string, pair: Pem) {
  const folder = mkdtempSync(join(tmpdir(), "aralez-soak-"));
  const put = ({ cert, key }: Pem) => {
    for (const [end, text] of [
      ["key", key],
      ["crt", cert],
    ] as const) {
      writeFileSync(join(folder, `new.${end}.tmp`), text);
      renameSync(join(folder, `new.${end}.tmp`), join(folder, `a.${end}`));
    }
  };
  put(pair);
  const port = freePort();
  const settings = `listener_engine: ${engine}\nproxy_address_tls: 127.0.0.1:${port}\nproxy_configs: ${folder}`;
  const proxy = await startProxyProcess(rules, settings);
  return {
    proxy,
    port,
    put,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function shown(port: number): Promise<string> {
  const socket = await openTls(port, "a.test");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

function startClients(port: number, kept: number, fresh: number) {
  const script = join(import.meta.dir, "../support/https-clients.mjs");
  const child = Bun.spawn([pathOf("node"), script, String(port), "a.test", String(kept), String(fresh)], {
    stdin: "pipe",
    stdout: "pipe",
  });
  return {
    async end(): Promise<Outcome> {
      await child.stdin.end();
      return JSON.parse(await new Response(child.stdout).text()) as Outcome;
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

const pairs = [selfSigned("a.test"), selfSigned("a.test", "rsa"), selfSigned("a.test")];

describe(`${changes} certificate changes under load`, () => {
  for (const engine of ["socket", "bun"]) {
    test(
      engine === "socket"
        ? "lose no request on the socket engine"
        : "are all served by Bun.serve, one listener after another",
      async () => {
        await using up = await startOrigin((_, response) => void response.end("ok"));
        const rules = `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`;
        await using tls = await startTlsProcess(rules, engine, pairs[0]!);
        await using clients = startClients(tls.port, 8, 8);
        // A change on Bun.serve takes a new listener, at most twice a second.
        const wanted = engine === "socket" || long ? changes : 10;
        let before = await shown(tls.port);
        for (let i = 1; i <= wanted; i++) {
          tls.put(pairs[i % pairs.length]!);
          before = await until(async () => {
            const now = await shown(tls.port);
            return now !== before && now;
          }, `change ${i} to be served`);
        }
        const outcome = await clients.end();
        console.log(`${engine}: ${wanted} changes, ${JSON.stringify(outcome)}`);
        expect(outcome.answered).toBeGreaterThan(wanted);
        if (engine === "socket") expect(outcome.failures).toEqual({});
        else expect(outcome.failures).not.toHaveProperty("timeout");
        expect(tls.proxy.faults()).toBe("");
      },
      600_000,
    );
  }
});

test("150 clients that shake hands in a closed loop all get their turn", async () => {
  await using up = await startOrigin();
  const rules = `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`;
  await using tls = await startTlsProcess(rules, "socket", pairs[1]!);
  const script = join(import.meta.dir, "../support/handshake-clients.mjs");
  await using clients = new Program("node", [script, String(tls.port), "150", "5", "a.test"]);
  await clients.end();
  console.log(clients.output.trim());
  const { handshakes, failures, maxMs } = JSON.parse(clients.output);
  expect(failures).toEqual({});
  expect(handshakes).toBeGreaterThan(150);
  // Measured: 0.2 to 0.8 s, by what else the machine does; unpaced the oldest time out.
  expect(maxMs).toBeLessThan(10_000);
}, 120_000);
