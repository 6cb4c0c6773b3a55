/** What only a process of its own shows: limits set before the first listener, and rules large enough for a thread. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, Started, temporaryFolder } from "../cli/program.ts";
import { startOrigin } from "../support/origins.ts";
import { until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

setDefaultTimeout(60_000);

test("max_header_bytes decides: 60 KiB of fields pass by default, 70 KiB get 431", async () => {
  await using up = await startOrigin(
    (request, response) => void response.end(String(request.headers["x-big"]?.length)),
  );
  using folder = temporaryFolder();
  const port = freePort();
  // The origin is a node:http server with a limit of its own; curl -I style big fields stop at the proxy.
  writeFileSync(join(folder.path, "main.yaml"), `proxy_address_http: 127.0.0.1:${port}\n`);
  writeFileSync(
    join(folder.path, "upstreams.yaml"),
    `upstreams: { DEFAULT: { paths: { "/": { servers: ["${up.address}"] }, "/r": { redirect_to: "https://x.test" } } } }\n`,
  );
  await using proxy = new Started(["-c", "main.yaml"], { cwd: folder.path });
  const ask = (bytes: number) =>
    raw(port, `GET /r HTTP/1.1\r\nHost: a.test\r\nX-Big: ${"x".repeat(bytes)}\r\nConnection: close\r\n\r\n`);
  await proxy.until("an answer", () =>
    ask(1).then(
      (answer) => answer.status === 301,
      () => false,
    ),
  );
  expect((await ask(60 * 1024)).status).toBe(301);
  expect((await ask(70 * 1024)).status).toBe(431);
});

test("3,000 hosts load, and reload while requests are answered without a pause", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  using folder = temporaryFolder();
  const port = freePort();
  const rules = (n: number) =>
    `upstreams:\n${Array.from({ length: n }, (_, i) => `  h${i}.test:\n    paths:\n      "/": { servers: ["${up.address}"], healthcheck: false }\n`).join("")}`;
  writeFileSync(join(folder.path, "main.yaml"), `proxy_address_http: 127.0.0.1:${port}\n`);
  writeFileSync(join(folder.path, "upstreams.yaml"), rules(3000));
  await using proxy = new Started(["-c", "main.yaml"], { cwd: folder.path });
  const ask = (host: string) =>
    raw(port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`).then(
      (answer) => answer.status,
      () => 0,
    );
  await proxy.until("an answer", async () => (await ask("h2999.test")) === 200);
  expect(await ask("h3000.test")).toBe(404);
  writeFileSync(join(folder.path, "upstreams.yaml"), rules(3001));
  let slowestMs = 0;
  await until(async () => {
    const beganMs = performance.now();
    const status = await ask("h3000.test");
    slowestMs = Math.max(slowestMs, performance.now() - beganMs);
    expect([200, 404]).toContain(status);
    return status === 200;
  }, "the new host");
  console.log(`slowest answer during the reload of 3,000 hosts: ${slowestMs.toFixed(0)} ms`);
});

test("a main.yaml of the original, with all of its keys and Pingora's, starts; what has no effect is noted [1]", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  using folder = temporaryFolder();
  const port = freePort();
  writeFileSync(
    join(folder.path, "main.yaml"),
    `hc_interval: 2
hc_method: head
upstreams_conf: ${folder.path}/upstreams.yaml
log_level: info
config_address: 127.0.0.1:${freePort()}
proxy_address_http: 127.0.0.1:${port}
config_api_enabled: true
proxy_tls_grade: high
master_key: "910517d9-f9a1-48de-8826-dbadacbd84af"
access_log: all
file_server_folder: ${folder.path}
file_server_address: 127.0.0.1:${freePort()}
tcp_keepalive_idle: 30
tcp_keepalive_interval: 10
tcp_keepalive_count: 5
threads: 1
daemon: false
upstream_keepalive_pool_size: 500
upgrade_sock: /tmp/aralez.sock
work_stealing: true
listener_tasks_per_fd: 1
max_retries: 4
`,
  );
  writeFileSync(
    join(folder.path, "upstreams.yaml"),
    `provider: file\nupstreams: { DEFAULT: { paths: { "/": { servers: ["${up.address}"] } } } }\n`,
  );
  await using proxy = new Started(["-c", "main.yaml"], { cwd: folder.path });
  await proxy.until(
    "an answer",
    async () =>
      (await raw(port, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").then(
        (answer) => answer.status,
        () => 0,
      )) === 200,
  );
  await proxy.until("the note", () => /work_stealing/.test(proxy.out));
  expect(proxy.out).not.toMatch(/ ERROR /);
  expect(proxy.out + proxy.err).not.toContain("910517d9");
});
