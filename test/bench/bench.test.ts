/** The benchmark works: it reads what its tools say, refuses what it does not know, measures and leaves nothing behind. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readArguments } from "../../bench/arguments.ts";
import { parseStubStatus } from "../../bench/origin.ts";
import { environment, parseStat } from "../../bench/processes.ts";
import { median, rowsOf } from "../../bench/report.ts";

const root = join(import.meta.dir, "../..");
const tools = ["nginx", "wrk", "taskset", "setpriv", "prlimit"].every((tool) => Bun.which(tool, environment()));
const tlsTools = ["openssl", "h2load"].every((tool) => Bun.which(tool, environment()));

describe("readings", () => {
  test("CPU time is found in /proc/PID/stat although the process has blanks and brackets in its name", () => {
    const stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 11 22 3 4 20 0 9 0 5 1000 200";
    expect(parseStat(stat)).toEqual({ user: 14, system: 26 });
  });

  test("the connections accepted are read from nginx's stub_status, and anything else is refused", () => {
    const text =
      "Active connections: 1 \nserver accepts handled requests\n 57 57 1234 \nReading: 0 Writing: 1 Waiting: 0 \n";
    expect(parseStubStatus(text)).toBe(57);
    expect(() => parseStubStatus("<html>502")).toThrow("expected stub_status");
  });

  test("figures are medians, ratios are to nginx, errors add up", () => {
    expect([median([9, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
    const round = (cpuUs: number, errors = 0) => ({
      requests: 1000,
      seconds: 1,
      p50Ms: 1,
      p99Ms: 2,
      p999Ms: 3,
      errors,
      userUs: cpuUs / 2,
      systemUs: cpuUs / 2,
      residentBytes: 1,
      upstreamConnections: 0,
    });
    const rounds = { aralez: [round(30, 1), round(90), round(40, 2)], nginx: [round(20), round(19), round(21)] };
    const [aralez, nginx] = rowsOf({ scenario: "small", reference: "nginx", rounds });
    expect(aralez).toMatchObject({
      cpuUs: 40,
      cpuRatio: 2,
      cpuUsRange: [30, 90],
      coreShare: 0.04,
      cpuSecondsLeast: 0.03,
      errors: 3,
    });
    expect(nginx).toMatchObject({ cpuUs: 20, cpuRatio: 1, errors: 0 });
    const alone = { scenario: "small", reference: "nginx", rounds: { aralez: rounds.aralez } };
    expect(rowsOf(alone)[0]!.cpuRatio).toBeUndefined();
    expect(rowsOf({ ...alone, reference: "aralez" })[0]!.cpuRatio).toBe(1);
  });
});

describe("arguments", () => {
  test("what is unknown or out of bounds is named, with what would be right", () => {
    expect(() => readArguments(["--scenario", "small,smal"])).toThrow(
      'unknown "smal", expected some of small, headers',
    );
    expect(() => readArguments(["--scenario", ","])).toThrow("--scenario");
    expect(() => readArguments(["--contenders", "constructor"])).toThrow("expected some of aralez");
    expect(() => readArguments(["--seconds", "0.5"])).toThrow("expected a whole number from 1 to 600");
    expect(() => readArguments(["--rounds", "0"])).toThrow("--rounds");
    expect(() => readArguments(["--pace", "96"])).toThrow("expected a whole number from 0 to 95");
    expect(() => readArguments(["--baseline", tmpdir()])).toThrow("expected a checkout of Aralez");
  });

  test("a baseline is measured between the new checkout and nginx", () => {
    expect(readArguments(["--baseline", root]).contenders).toEqual(["aralez", "baseline", "nginx"]);
    expect(readArguments([]).contenders).toBeUndefined();
  });

  test("--show-config prints what the scenarios with TLS need beside the others", async () => {
    const { code, out } = await bench(["--show-config", "--scenario", "small,grpc", "--contenders", "nginx,aralez"]);
    expect(code).toBe(0);
    const files = [...out.matchAll(/^### (\S+)$/gm)].map(([, file]) => file);
    expect(files).toEqual([
      "origin/origin.conf",
      "nginx/nginx.conf",
      "aralez/main.yaml",
      "aralez/upstreams.yaml",
      "nginx-tls/nginx.conf",
      "aralez-tls/main.yaml",
      "aralez-tls/upstreams.yaml",
    ]);
    expect(out.match(/grpc_pass grpc:\/\/h2c/g)).toHaveLength(1);
  });

  test("wrong use ends with 2 and the usage", async () => {
    const { code, err } = await bench(["--no-such-flag"]);
    expect(code).toBe(2);
    expect(err).toContain("Usage: bun run bench");
  });

  test("--show-config prints every file that the origin and the contenders read", async () => {
    const { code, out } = await bench(["--show-config", "--scenario", "1m"]);
    expect(code).toBe(0);
    for (const file of [
      "origin/origin.conf",
      "aralez/main.yaml",
      "aralez/upstreams.yaml",
      "nginx/nginx.conf",
      "nginx-large/nginx.conf",
      "haproxy/haproxy.cfg",
      "haproxy/routes.map",
      "caddy/Caddyfile",
    ])
      expect(out).toContain(`### ${file}`);
    expect(out.match(/server_name host-/g)).toHaveLength(100);
    expect(out.match(/servers: \["127/g)).toHaveLength(451);
  });
});

describe.skipIf(!tools)("a run", () => {
  test("measures nginx and says what it found, as a table and as JSON, and leaves nothing behind", async () => {
    const temp = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
    try {
      const json = join(temp, "results.json");
      const short = ["--scenario", "small,upload", "--seconds", "1", "--warmup", "1", "--rounds", "1", "--pace", "0"];
      const { code, out, err } = await bench([...short, "--contenders", "nginx", "--json", json], temp);
      // A machine that is busy with other tests may give a round too little of its core.
      expect(err.split("\n").filter((line) => line !== "" && !line.includes("too little to tell"))).toEqual([]);
      expect(code).toBe(0);
      expect(out).toContain("| nginx ");
      const { results } = JSON.parse(readFileSync(json, "utf8"));
      expect(results.map(({ scenario }: { scenario: string }) => scenario)).toEqual(["small", "upload"]);
      for (const { rounds, medians } of results) {
        expect(rounds.nginx).toHaveLength(1);
        expect(rounds.nginx[0].requests).toBeGreaterThan(0);
        expect(medians[0]).toMatchObject({ contender: "nginx", cpuRatio: 1, errors: 0 });
        expect(medians[0].residentBytes).toBeGreaterThan(0);
      }
      expect(readdirSync(temp)).toEqual(["results.json"]);
      const again = await bench(["--from", json, "--chart", join(temp, "chart.svg")], temp);
      expect(again.code).toBe(0);
      expect(again.out).toContain("| nginx ");
      expect(readFileSync(join(temp, "chart.svg"), "utf8")).toContain(">upload</text>");
    } finally {
      rmSync(temp, { recursive: true, force: true });
    }
  }, 120_000);

  test.skipIf(!tlsTools)(
    "measures TLS, HTTP/2 and gRPC, and every answer was a whole one in the cipher that was asked for",
    async () => {
      const temp = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
      try {
        const json = join(temp, "results.json");
        const names = ["tls", "tls-close", "tls-resume", "h2-10", "h2-h2c", "grpc"];
        const short = [
          "--scenario",
          names.join(","),
          "--seconds",
          "1",
          "--warmup",
          "1",
          "--rounds",
          "1",
          "--pace",
          "0",
        ];
        const { code, err } = await bench([...short, "--contenders", "nginx", "--json", json], temp);
        expect(err.split("\n").filter((line) => line !== "" && !line.includes("too little to tell"))).toEqual([]);
        expect(code).toBe(0);
        const { results } = JSON.parse(readFileSync(json, "utf8"));
        expect(results.map(({ scenario }: { scenario: string }) => scenario)).toEqual(names);
        for (const { medians } of results) {
          expect(medians[0]).toMatchObject({ contender: "nginx", errors: 0 });
          expect(medians[0].requestsPerSecond).toBeGreaterThan(0);
        }
        expect(readdirSync(temp)).toEqual(["results.json"]);
      } finally {
        rmSync(temp, { recursive: true, force: true });
      }
    },
    240_000,
  );

  test("a contender that cannot start is named with its last words, and the run fails", async () => {
    const temp = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
    try {
      mkdirSync(join(temp, "checkout/src"), { recursive: true });
      writeFileSync(join(temp, "checkout/src/main.ts"), 'console.error("no luck today"); process.exit(3);');
      const { code, out, err } = await bench(
        ["--scenario", "small", "--contenders", "baseline", "--baseline", join(temp, "checkout")],
        temp,
      );
      expect(code).toBe(1);
      expect(err).toContain("bench: small: baseline is not running any more (exit code 3): no luck today");
      expect(out).not.toContain("| baseline");
      expect(readdirSync(temp)).toEqual(["checkout"]);
    } finally {
      rmSync(temp, { recursive: true, force: true });
    }
  }, 60_000);

  test("Ctrl-C stops everything and removes its files", async () => {
    const temp = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
    try {
      const child = spawn(["--scenario", "small", "--contenders", "nginx", "--warmup", "60"], temp);
      // The load has begun when its script lies there; by then origin and nginx run.
      await until(() => readdirSync(temp, { recursive: true }).some((name) => String(name).endsWith("load.lua")));
      const folder = join(temp, readdirSync(temp)[0]!);
      const pids = ["origin", "nginx"].map((name) => Number(readFileSync(join(folder, name, "nginx.pid"), "utf8")));
      expect(pids.every(alive)).toBe(true);
      child.kill("SIGINT");
      expect(await child.exited).toBe(130);
      expect(pids.some(alive)).toBe(false);
      expect(readdirSync(temp)).toEqual([]);
    } finally {
      rmSync(temp, { recursive: true, force: true });
    }
  }, 60_000);
});

function spawn(args: readonly string[], temp = tmpdir()) {
  return Bun.spawn([process.execPath, "run", join(root, "bench/run.ts"), ...args], {
    cwd: root,
    env: { ...process.env, TMPDIR: temp },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function bench(args: readonly string[], temp?: string) {
  const child = spawn(args, temp);
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, out, err };
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function until(fact: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!fact()) {
    if (performance.now() > deadline) throw new Error("waited 30 s in vain");
    await Bun.sleep(20);
  }
}
