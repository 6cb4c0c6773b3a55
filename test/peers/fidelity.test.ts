/** The README's fidelity table: each of its cells is found out anew, on every pair of engines and on nginx. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fillFidelity } from "../support/fidelity-table.ts";
import { deadPort } from "../support/origins.ts";
import { startNginx, type Nginx } from "../support/nginx.ts";
import { startProxy, type TestProxy } from "../support/proxy.ts";
import { startStage, type Stage } from "./fidelity-bench.ts";
import { cases, columns, type Column } from "./fidelity-cases.ts";

setDefaultTimeout(60_000);

let stage: Stage;
let nginx: Nginx;
const proxies = new Map<Column, TestProxy>();

beforeAll(async () => {
  stage = await startStage();
  const dead = await deadPort();
  const rules = `
healthcheck: false
upstreams: { DEFAULT: { paths: { "/": { servers: ["${stage.address}"] }, "/dead": { servers: ["127.0.0.1:${dead}"] } } } }`;
  for (const column of columns) {
    if (column === "nginx") continue;
    const [listener_engine, upstream_engine] = column.split(" + ") as ["socket" | "bun", "socket" | "fetch"];
    proxies.set(column, await startProxy(rules, { listener_engine, upstream_engine }));
  }
  nginx = await startNginx({
    server: `
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection "";
      client_max_body_size 0;
      location / { proxy_pass http://${stage.address}; }
      location /dead { proxy_pass http://127.0.0.1:${dead}; }`,
  });
});

afterAll(async () => {
  for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
  await nginx?.[Symbol.asyncDispose]();
  await stage?.[Symbol.asyncDispose]();
});

for (const column of columns) {
  describe(column, () => {
    for (const { name, verdict, expected } of cases) {
      test(`${name}: ${expected[column]}`, async () => {
        const { port } = proxies.get(column) ?? nginx;
        expect(await verdict({ port, stage })).toBe(expected[column]);
      });
    }
  });
}

test("the README's fidelity table is this one (write it with: bun test/support/fidelity-table.ts README.md)", () => {
  const readme = readFileSync(join(import.meta.dir, "../../README.md"), "utf8");
  expect(readme).toBe(fillFidelity(readme));
});
