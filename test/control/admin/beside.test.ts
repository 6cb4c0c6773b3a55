/** 200 requests a second beside pushes that are broken, huge or made to be slow: every request is answered, no rule changes. */
import { expect, test } from "bun:test";
import { configBytesMax } from "../../../src/lib/limits.ts";
import { freePort, origin } from "../../cli/program.ts";
import { startProxyProcess } from "../../support/proxy-process.ts";
import { masterKey } from "./ask.ts";

const everyMs = 5;
const waitMs = 60_000;

const hosts = (address: string, count: number) =>
  Array.from(
    { length: count },
    (_, i) => `  h${i}.test: { paths: { "/": { healthcheck: false, servers: ["${address}"] } } }\n`,
  ).join("");
const aliases = Array.from({ length: 30 }, (_, i) => `a${i}: &a${i} [${Array(9).fill(i === 0 ? "x" : `*a${i - 1}`)}]`);

test("pushes that are refused, dry or long hold up nobody; the p99 of the requests beside them is reported", async () => {
  using up = origin("up");
  const address = `127.0.0.1:${up.port}`;
  const rules = `upstreams:\n  a.test: { paths: { "/": { healthcheck: false, servers: ["${address}"] } } }\n`;
  const admin = `127.0.0.1:${freePort()}`;
  await using proxy = await startProxyProcess(rules, `config_address: ${admin}\nmaster_key: ${masterKey}`);
  const version = async () => {
    const status = await fetch(`http://${admin}/status`);
    return ((await status.json()) as { rules: { version: string } }).rules.version;
  };
  const inForce = await version();

  const pushes: [name: string, status: number, query: string, body: string | Uint8Array<ArrayBuffer>][] = [
    ["broken", 400, "", "upstreams: [\n".repeat(100)],
    ["above the limit", 413, "", "#".repeat(configBytesMax + 1)],
    ["aliases that multiply", 400, "", `${aliases.join("\n")}\n`],
    ["open brackets", 400, "", `upstreams: ${"[".repeat(100_000)}\n`],
    ["bytes that are no UTF-8", 400, "", new Uint8Array([0x75, 0xff, 0xfe])],
    ["the limit, dry", 200, "?dry_run", rules + "#".repeat(configBytesMax - rules.length)],
    ["1,000 hosts, dry", 200, "?dry_run", rules + hosts(address, 1_000)],
  ];
  const report: string[] = [];
  for (const [name, status, query, body] of pushes) {
    const pushed = fetch(`http://${admin}/conf${query}`, { method: "POST", headers: { "x-api-key": masterKey }, body });
    let done = false;
    const answer = pushed.finally(() => (done = true));
    const answers: Promise<[status: number, ms: number]>[] = [];
    const beganMs = performance.now();
    while (!done || answers.length < 100) {
      const dueMs = beganMs + answers.length * everyMs;
      if (dueMs > beganMs + waitMs) throw new Error(`no answer to "${name}" within ${waitMs / 1000} s`);
      if (dueMs > performance.now()) await Bun.sleep(dueMs - performance.now());
      // From when it should have been sent: whoever waits for the one before is late as well.
      answers.push(
        fetch(proxy.url, { headers: { Host: "a.test" } }).then(async (one) => {
          await one.text();
          return [one.status, performance.now() - dueMs];
        }),
      );
    }
    expect([name, (await answer).status]).toEqual([name, status]);
    const all = await Promise.all(answers);
    expect(all.filter(([status]) => status !== 200)).toEqual([]);
    const sorted = all.map(([, ms]) => ms).toSorted((a, b) => a - b);
    report.push(`${name}: ${sorted[Math.floor(sorted.length * 0.99)]!.toFixed(1)} ms`);
    expect(await version()).toBe(inForce);
  }
  console.log(`p99 of 200 requests a second beside a push: ${report.join(", ")}`);
  expect(proxy.faults()).toBe("");
}, 120_000);
