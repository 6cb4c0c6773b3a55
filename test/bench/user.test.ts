/** The user's benchmark works: contenders take their configuration and do their work, generators are read, claims are shown. */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readArguments } from "../../bench/arguments.ts";
import { certificateFiles, makeCertificate } from "../../bench/certificate.ts";
import { environment, shareCores } from "../../bench/processes.ts";
import { able, missingFor, participants } from "../../bench/participants.ts";
import { table } from "../../bench/report.ts";
import { Lab } from "../../bench/lab.ts";
import { load } from "../../bench/load/load.ts";
import { scenarios } from "../../bench/scenarios.ts";
import { smallBody } from "../../bench/site.ts";
import { rateChart, rateSummary } from "../../bench/user/chart.ts";
import type { UserContender } from "../../bench/user/contender.ts";
import { userContenders } from "../../bench/user/contenders.ts";
import { together } from "../../bench/user/load.ts";
import { parseOha } from "../../bench/user/oha.ts";
import { routeOf, urls } from "../../bench/user/site.ts";
import { loadSettings } from "../../src/config/load-settings.ts";

const root = join(import.meta.dir, "../..");
const has = (...tools: string[]) => tools.every((tool) => Bun.which(tool, environment()));
const nowhere = { contenders: undefined, binary: "/nowhere/aralez" };

test("nine URLs, from / and /ping down to seven levels", () => {
  expect(urls).toHaveLength(9);
  expect(urls.slice(0, 3)).toEqual(["/", "/ping", "/one"]);
  expect(urls.at(-1)!.split("/")).toHaveLength(1 + 7);
  expect(urls.filter((url) => routeOf(url).path === "/ping")).toEqual(["/ping"]);
});

test("800 connections in each of the three batches whose ratios the original shows, 300 with all URLs", () => {
  const user = Object.entries(scenarios).filter(([, scenario]) => scenario.user);
  expect(user.map(([name, { connections, user }]) => [name, connections, user!.claim])).toEqual([
    ["user-urls", 300, undefined],
    ["user-http1", 800, 1.43],
    ["user-h2", 800, 1.11],
    ["user-mixed", 800, 1.24],
  ]);
});

describe("who takes part", () => {
  test("those of the benchmark they belong to, and of those nobody asked for only who can run here", () => {
    const names = Object.keys(userContenders).filter((name) => name !== "aralez-bun");
    expect(participants(scenarios["user-h2"]!, nowhere)).toEqual(names);
    const asked = { ...nowhere, contenders: ["aralez", "traefik", "aralez-fetch"] };
    expect(participants(scenarios["user-h2"]!, asked)).toEqual(["aralez", "traefik"]);
    expect(participants(scenarios.small!, asked)).toEqual(["aralez", "aralez-fetch"]);
    expect(able(scenarios["user-h2"]!, nowhere)).not.toContain("aralez");
    expect(missingFor(scenarios["user-h2"]!, "aralez", nowhere)).toBe("/nowhere/aralez (npm run build)");
    expect(missingFor(scenarios.small!, "aralez", nowhere)).toBeUndefined();
  });

  test("as many cores for the proxy as it has workers, and one for the load as far as there are any", () => {
    expect(shareCores([0, 1], 1)).toEqual({ proxy: "1", load: "0", origin: "0" });
    expect(shareCores([0, 1], 2)).toEqual({ proxy: "0,1", load: "0,1", origin: "0,1" });
    expect(shareCores([2, 3, 4], 2)).toEqual({ proxy: "3,4", load: "2", origin: "2" });
    expect(shareCores([0, 1, 2, 3], 2)).toEqual({ proxy: "1,2", load: "0", origin: "3" });
  });

  test("workers are a list, and nothing below one", () => {
    expect(readArguments(["--workers", "1,2"]).workers).toEqual([1, 2]);
    expect(() => readArguments(["--workers", "0"])).toThrow("expected a whole number from 1 to 64");
    expect(() => readArguments(["--workers", "1,,2"])).toThrow("--workers");
  });
});

describe("what oha says", () => {
  const report = (statuses: object, errors: object, totalData: number) =>
    JSON.stringify({
      summary: { successRate: 1, total: 2.5, totalData },
      latencyPercentiles: { p10: 0.0001, p50: 0.002, p99: 0.04, "p99.9": null },
      statusCodeDistribution: statuses,
      errorDistribution: errors,
    });
  const bytes = smallBody.length;

  test("answers with status 200, and their percentiles in ms", () => {
    expect(parseOha(report({ "200": 10 }, {}, 10 * bytes))).toEqual({
      requests: 10,
      seconds: 2.5,
      p50Ms: 2,
      p99Ms: 40,
      p999Ms: 0,
      errors: 0,
    });
  });

  test("other statuses, errors and bodies that were cut make it invalid, and say why", () => {
    const broken = report({ "200": 10, "502": 2 }, { "connection closed": 1 }, 12 * bytes);
    expect(parseOha(broken)).toMatchObject({ requests: 10, errors: 3, why: "2 × 502, 1 × connection closed" });
    expect(parseOha(report({ "200": 10 }, {}, 9 * bytes))).toMatchObject({ errors: 10 });
    expect(() => parseOha(report({ "404": 3 }, {}, 0))).toThrow("no answer with status 200 (3 × 404)");
    expect(() => parseOha("error: unexpected argument")).toThrow("Cannot read what oha says");
    expect(() => parseOha("{}")).toThrow("Cannot read what oha says");
  });

  test.skipIf(!has("oha"))("is read from oha itself", async () => {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      fetch: ({ url }) => new Response(smallBody, { status: url.endsWith("/bad") ? 500 : 200 }),
    });
    try {
      const run = async (path: string) => {
        const options = ["--no-tui", "--output-format", "json", "-n", "50", "-c", "5"];
        const child = Bun.spawn(["oha", ...options, `http://127.0.0.1:${server.port}${path}`], {
          stdout: "pipe",
          env: environment(),
        });
        return child.stdout.text();
      };
      expect(parseOha(await run("/"))).toMatchObject({ requests: 50, errors: 0 });
      const bad = await run("/bad");
      expect(() => parseOha(bad)).toThrow("50 × 500");
    } finally {
      await server.stop(true);
    }
  });
});

test("two loads side by side count together; latencies are those of the slower one", () => {
  const one = { requests: 10, seconds: 2, p50Ms: 1, p99Ms: 9, p999Ms: 10, errors: 0 };
  const other = { requests: 5, seconds: 2.5, p50Ms: 3, p99Ms: 4, p999Ms: 5, errors: 2, why: "2 failed" };
  expect(together([one, other])).toEqual({
    requests: 15,
    seconds: 2.5,
    p50Ms: 3,
    p99Ms: 9,
    p999Ms: 10,
    errors: 2,
    why: "2 failed",
  });
  expect(together([one])).toEqual(one);
});

test("the report shows requests/s against nginx's beside what the original claims, and so does the chart", () => {
  const round = (requests: number, errors = 0, cpuUs = 20) => ({
    ...{ requests, seconds: 1, p50Ms: 1, p99Ms: 2, p999Ms: 3, errors, residentBytes: 1, upstreamConnections: 0 },
    ...{ userUs: cpuUs / 2, systemUs: cpuUs / 2 },
  });
  const rounds = { aralez: [round(1200)], nginx: [round(1000, 0, 30)], caddy: [round(500, 1)] };
  const result = { scenario: "user-http1", workers: 2, reference: "nginx", rounds };
  const text = table(result);
  expect(text).toStartWith("user-http1, 2 workers each: ");
  expect(text).toContain("the original's README shows 1.43; here aralez 1.20 (1.50)");
  // 20 µs × 1,200 on two cores for a second.
  expect(/^\| aralez .*\| +1 \| +1200 \| +1\.20 \|/m.test(text)).toBe(true);
  expect(rateSummary([result])).toContain("| 1200 (1.20) |");
  expect(rateSummary([result])).toContain(" 1.43 |");
  const svg = rateChart([result, { ...result, scenario: "user-urls" }], "a machine");
  expect(svg).toContain(">1.50 · 20 µs · 1200/s</text>");
  expect(svg).toContain(">not valid</text>");
  expect(svg.match(/claimed by the original, in requests\/s: 1\.43/g)).toHaveLength(1);
  expect(svg.match(/class="claim"/g)).toHaveLength(1);
});

describe.skipIf(!has("openssl"))("a contender takes its configuration", () => {
  const checks: Readonly<Record<string, (folder: string) => string[]>> = {
    nginx: (folder) => ["nginx", "-e", "stderr", "-t", "-q", "-p", folder, "-c", join(folder, "nginx.conf")],
    haproxy: (folder) => ["haproxy", "-c", "-q", "-f", join(folder, "haproxy.cfg")],
    caddy: (folder) => ["caddy", "validate", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
  };
  for (const workers of [1, 2]) {
    for (const [name, command] of Object.entries(checks)) {
      test.skipIf(!has(name))(`${name}, ${workers} workers`, () =>
        withPlan(name, workers, (folder) => {
          const { exitCode, stderr } = Bun.spawnSync(command(folder), { env: environment(), cwd: folder });
          expect(exitCode === 0 ? "" : String(stderr)).toBe("");
        }),
      );
    }
    for (const name of ["aralez", "aralez-bun", "original"]) {
      // The files of the original are ours too.
      test(`${name}, ${workers} workers`, () =>
        withPlan(name, workers, (folder) => {
          const { settings, problems } = loadSettings({ file: join(folder, "main.yaml"), text: undefined }, {});
          expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
          expect(settings).toBeDefined();
          expect(readFileSync(join(folder, "main.yaml"), "utf8")).toContain(`threads: ${workers}\n`);
        }));
    }
  }
});

describe.skipIf(!has("nginx", "wrk", "h2load", "openssl", "taskset", "setpriv", "prlimit"))("a run", () => {
  test("measures nginx and Aralez without oha, and leaves nothing behind", async () => {
    const temp = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
    const programs = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
    try {
      // The program that a build makes takes too long to make here.
      const binary = join(programs, "aralez");
      writeFileSync(binary, `#!/bin/sh\nexec ${process.execPath} run ${join(root, "src/main.ts")} "$@"\n`);
      chmodSync(binary, 0o755);
      const json = join(temp, "user.json");
      const chart = join(temp, "user.svg");
      const { code, out, err } = await bench(
        [
          ...["--scenario", "user-urls,user-http1", "--contenders", "nginx,aralez", "--no-oha", "--binary", binary],
          ...["--seconds", "1", "--warmup", "1", "--rounds", "1", "--json", json, "--chart", chart],
        ],
        temp,
      );
      // A machine that is busy with other tests may give a round too little of its core.
      expect(err.split("\n").filter((line) => line !== "" && !line.includes("too little to tell"))).toEqual([]);
      expect(code).toBe(0);
      expect(out).toContain("user-http1, 1 worker each");
      expect(out).toContain("the original's README shows 1.43");
      const { results } = JSON.parse(readFileSync(json, "utf8"));
      expect(results.map(({ scenario }: { scenario: string }) => scenario)).toEqual(["user-urls", "user-http1"]);
      for (const { medians } of results) {
        for (const row of medians) {
          expect(row.errors).toBe(0);
          expect(row.requestsPerSecond).toBeGreaterThan(0);
          expect(row.rateRatio).toBeGreaterThan(0);
        }
        expect(medians.map(({ contender }: { contender: string }) => contender)).toEqual(["nginx", "aralez"]);
      }
      expect(readFileSync(chart, "utf8")).toContain(">user-urls, 1 worker each</text>");
      expect(readdirSync(temp).sort()).toEqual(["user.json", "user.svg"]);
      const joined = await bench(["--from", `${json},${json}`, "--json", join(temp, "joined.json")], temp);
      expect(joined.code).toBe(0);
      expect(joined.out.match(/^user-urls, 1 worker each: .* \(load [\d.]+\)$/gm)).toHaveLength(2);
      expect(JSON.parse(readFileSync(join(temp, "joined.json"), "utf8")).results).toHaveLength(4);
    } finally {
      for (const folder of [temp, programs]) rmSync(folder, { recursive: true, force: true });
    }
  }, 240_000);

  test("loads both ports side by side, and every answer was a whole one", async () => {
    const parts = [
      { connections: 10, all: true },
      { connections: 10, http2: true },
    ];
    const scenario = { doc: "", target: "/", connections: 20, user: { parts } };
    await using lab = new Lab({ tree: root, baseline: undefined, workers: 1, binary: nowhere.binary });
    await lab.startOrigin(scenario);
    const nginx = await lab.start("nginx");
    for (const oha of has("oha") ? [false, true] : [false]) {
      const { signal } = new AbortController();
      const where = { folder: lab.folder, cores: lab.cores.load, signal };
      const before = await lab.originConnections();
      const result = await load({ ...nginx, ...where, scenario, seconds: 1, oha });
      expect(result).toMatchObject({ errors: 0 });
      expect(result.requests).toBeGreaterThan(0);
      expect(await lab.originConnections()).toBeGreaterThanOrEqual(before);
    }
  }, 120_000);

  test("the program that is missing is named, with how to get it", async () => {
    const args = ["--scenario", "user-http1", "--contenders", "aralez", "--binary", "/nowhere/aralez"];
    const { code, err } = await bench(args, tmpdir());
    expect(code).toBe(1);
    expect(err).toContain("not found: /nowhere/aralez (npm run build)");
  });

  test("a proxy that does something else is no contender", async () => {
    const temp = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
    try {
      mkdirSync(join(temp, "src"));
      const binary = join(temp, "src/aralez");
      // It listens on the port of main.yaml, and knows no routes.
      const program = `const text = await Bun.file(process.argv.at(-1)).text();
const port = Number(/proxy_address_http: 127.0.0.1:(\\d+)/.exec(text)[1]);
Bun.serve({ hostname: "127.0.0.1", port, fetch: () => new Response("hello") });`;
      writeFileSync(`${binary}.ts`, program);
      writeFileSync(binary, `#!/bin/sh\nexec ${process.execPath} run ${binary}.ts "$@"\n`);
      chmodSync(binary, 0o755);
      const args = ["--scenario", "user-http1", "--contenders", "aralez", "--no-oha", "--binary", binary];
      const { code, err } = await bench(args, temp);
      expect(code).toBe(1);
      expect(err).toContain('aralez does not do the work it is measured at: the answer at / is "hello"');
      expect(readdirSync(temp)).toEqual(["src"]);
    } finally {
      rmSync(temp, { recursive: true, force: true });
    }
  }, 120_000);
});

function withPlan(name: string, workers: number, act: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
  try {
    const certificate = certificateFiles(join(folder, "tls/certificates"));
    makeCertificate(certificate);
    const contender: UserContender = userContenders[name as keyof typeof userContenders];
    const ports = { plainPort: 65_001, tlsPort: 65_002, adminPort: 65_003, serverPorts: [65_004, 65_005, 65_006] };
    const { files } = contender.plan({ folder, ...ports, certificate, workers, binary: "/nowhere/aralez" });
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
    act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function bench(args: readonly string[], temp: string) {
  const child = Bun.spawn([process.execPath, "run", join(root, "bench/run.ts"), ...args], {
    cwd: root,
    env: { ...process.env, TMPDIR: temp },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, out, err };
}
