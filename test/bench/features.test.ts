/** The features that are measured are on: a guard refuses who does not prove himself, and counts, logs and cookies are there. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { features } from "../../bench/contenders/aralez-features.ts";
import type { Contender } from "../../bench/contenders/contender.ts";
import { scenarios } from "../../bench/scenarios.ts";
import { cookieOf, host, prefix } from "../../bench/site.ts";
import { loadSettings } from "../../src/config/load-settings.ts";
import { start } from "../../src/control/control.ts";
import { freePort } from "../cli/program.ts";

type FeatureName = keyof typeof features;

test("the scenario features measures all of them, without any first", () => {
  expect(scenarios.features!.only).toEqual(Object.keys(features));
  expect(scenarios.features!.reference).toBe(Object.keys(features)[0]!);
});

test("authorization refuses a client without credentials, and lets the benchmark's pass", async () => {
  for (const name of ["aralez-basic", "aralez-apikey", "aralez-jwt", "aralez-all"] as const) {
    await withFeature(name, async ({ ask, lines }) => {
      expect([name, (await ask({})).status, (await ask(lines)).status]).toEqual([name, 401, 200]);
    });
  }
  await withFeature("aralez-none", async ({ ask }) => expect((await ask({})).status).toBe(200));
});

test("a forward service is asked each time", async () => {
  await withFeature("aralez-forward", async ({ ask, lines, asked }) => {
    for (let i = 0; i < 3; i++) expect((await ask(lines)).status).toBe(200);
    expect(asked.filter((path) => path === "/authorize")).toHaveLength(3);
    expect(asked.filter((path) => path === `${prefix}/small`)).toHaveLength(3);
  });
});

test("sticky sessions give a cookie to who has none, and the same again to who has", async () => {
  const { keepsCookie }: Contender = features["aralez-cookie"];
  expect(keepsCookie).toBe(true);
  await withFeature("aralez-cookie", async ({ ask, lines }) => {
    const cookie = cookieOf((await ask(lines)).headers.get("set-cookie") ?? undefined);
    const again = await ask({ ...lines, Cookie: cookie });
    // As in the original every answer has it, so that it stays as long as the client comes.
    expect(cookieOf(again.headers.get("set-cookie") ?? undefined)).toBe(cookie);
  });
  expect(() => cookieOf(undefined)).toThrow("expected a Set-Cookie");
});

test("the limits stand in the rules, and are too high to be reached", () => {
  const rules = (name: FeatureName) => {
    const place = { folder: "/f", port: 1, originPort: 2, echoPort: 3, tree: "/t", baseline: undefined };
    return features[name].plan(place).files["upstreams.yaml"]!;
  };
  for (const [name, key] of Object.entries({
    "aralez-rate": "rate_limit",
    "aralez-4xx": "x4xx_limit",
    "aralez-concurrent": "max_concurrent",
  })) {
    const limit = new RegExp(`^${key}: (\\d+)$`, "m").exec(rules(name as FeatureName))?.[1];
    expect(Number(limit)).toBeGreaterThanOrEqual(1_000_000);
    expect(rules("aralez-none")).not.toContain(key);
  }
  expect(rules("aralez-ip")).toMatch(/^deny: .*\nallow: .*127\.0\.0\.0\/8/m);
});

interface Running {
  /** @param lines header lines. @returns the answer to a request for `…/small` */
  ask(lines: Readonly<Record<string, string>>): Promise<Response>;
  /** what clients of this contender send */
  readonly lines: Readonly<Record<string, string>>;
  /** paths that the origin was asked for */
  readonly asked: readonly string[];
}

async function withFeature(name: FeatureName, act: (running: Running) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
  const asked: string[] = [];
  const origin = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    reusePort: false,
    fetch({ url, method }) {
      if (method === "GET") asked.push(new URL(url).pathname);
      return new Response("ok");
    },
  });
  const { clientLines = {}, plan }: Contender = features[name];
  mkdirSync(join(folder, "aralez"));
  const originPort = origin.port!;
  const place = { folder, port: freePort(), originPort, echoPort: originPort, tree: folder, baseline: undefined };
  const { files } = plan(place);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
  const { settings, problems } = loadSettings({ file: join(folder, "main.yaml"), text: undefined }, {});
  if (!settings) throw new Error(problems.map(({ message }) => message).join("; "));
  const proxy = await start({ settings, rules: { kind: "files" }, problems: [], env: {} });
  try {
    const { url } = proxy.listeners[0]!;
    // The forwarding field is the scenario's: one feature reads it.
    const always = { Host: host, "X-Forwarded-For": "203.0.113.7" };
    const ask = (lines: Readonly<Record<string, string>>) =>
      fetch(`${new URL(url).origin}${prefix}/small`, {
        headers: { ...always, ...lines },
        proxy: false,
        keepalive: false,
      } as BunFetchRequestInit);
    await act({ ask, lines: clientLines, asked });
  } finally {
    await proxy.stop(0);
    await origin.stop(true);
    rmSync(folder, { recursive: true, force: true });
  }
}
