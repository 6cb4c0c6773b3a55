/** Certificates and rules change under HTTP/2 load: no request is lost, on kept sessions and on new ones. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { put, temporary } from "../support/certificates.ts";
import { freePort } from "../cli/program.ts";
import { startOrigin } from "../support/origins.ts";
import { long, pathOf } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { until } from "../support/proxy.ts";
import { openTls, selfSigned } from "../support/tls.ts";

const changes = long ? 100 : 10;
const pairs = [selfSigned("a.test"), selfSigned("a.test", "rsa"), selfSigned("a.test")];

async function shown(port: number): Promise<string> {
  const socket = await openTls(port, "a.test");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

function startClients(port: number) {
  const script = join(import.meta.dir, "../support/http2-clients.mjs");
  const child = Bun.spawn([pathOf("node"), script, String(port), "a.test", "4", "10", "4"], {
    stdin: "pipe",
    stdout: "pipe",
  });
  return {
    async end(): Promise<{ answered: number; sessions: number; failures: Record<string, number> }> {
      await child.stdin.end();
      return JSON.parse(await new Response(child.stdout).text());
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

test(`${changes} certificate changes and ${changes} reloads under HTTP/2 load lose no request`, async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  using folder = temporary();
  const certify = (i: number) => {
    const { cert, key } = pairs[i % pairs.length]!;
    put(folder.path, "a", { crt: cert, key });
  };
  certify(0);
  const port = freePort();
  const rules = (mark: number) =>
    `client_headers: ["X-Mark: ${mark}"]\nupstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }\n`;
  await using proxy = await startProxyProcess(
    rules(0),
    `proxy_address_tls: 127.0.0.1:${port}\nproxy_configs: ${folder.path}`,
  );
  await using clients = startClients(port);
  let before = await shown(port);
  for (let i = 1; i <= changes; i++) {
    certify(i);
    proxy.write(rules(i));
    before = await until(async () => {
      const now = await shown(port);
      return now !== before && now;
    }, `certificate ${i} to be served`);
    await until(async () => {
      const answer = await fetch(`${proxy.url}/x`, { headers: { Host: "a.test" } });
      await answer.arrayBuffer();
      return answer.headers.get("x-mark") === String(i);
    }, `reload ${i} to be in force`);
  }
  const outcome = await clients.end();
  console.log(`${changes} changes: ${JSON.stringify(outcome)}`);
  expect(outcome.failures).toEqual({});
  expect(outcome.answered).toBeGreaterThan(changes);
  expect(outcome.sessions).toBeGreaterThan(4);
  expect(proxy.faults()).toBe("");
}, 600_000);
