/** The published configurations are the ones that are measured, and every contender that is installed takes its own. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { publishedConfigurations, publishedFolder } from "../../bench/configurations.ts";
import { contenders, missingProgram, type ContenderName } from "../../bench/contenders/index.ts";
import { environment } from "../../bench/processes.ts";
import { scenarios } from "../../bench/scenarios.ts";
import { loadSettings } from "../../src/config/load-settings.ts";

test("bench/configs holds what the contenders get (bun run bench --write-configs brings it up to date)", () => {
  const files = [...new Bun.Glob("**/*").scanSync({ cwd: publishedFolder })];
  const published = new Map(files.map((file) => [file, readFileSync(join(publishedFolder, file), "utf8")]));
  const current = publishedConfigurations();
  expect([...published.keys()].sort()).toEqual([...current.keys()].sort());
  for (const [file, content] of current) expect(published.get(file)).toBe(content);
});

test("scenarios name contenders that exist", () => {
  const named = Object.values(scenarios).flatMap(({ also = [], only = [], reference = "nginx" }) => [
    ...also,
    ...only,
    reference,
  ]);
  expect(named.filter((name) => !Object.hasOwn(contenders, name))).toEqual([]);
});

describe("a contender takes its configuration", () => {
  const checks: Partial<Record<ContenderName, (folder: string) => string[]>> = {
    nginx: (folder) => ["nginx", "-e", "stderr", "-t", "-q", "-p", folder, "-c", join(folder, "nginx.conf")],
    "nginx-large": (folder) => ["nginx", "-e", "stderr", "-t", "-q", "-p", folder, "-c", join(folder, "nginx.conf")],
    haproxy: (folder) => ["haproxy", "-c", "-q", "-f", join(folder, "haproxy.cfg")],
    caddy: (folder) => ["caddy", "validate", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
  };
  for (const [name, command] of Object.entries(checks) as [ContenderName, (folder: string) => string[]][]) {
    test.skipIf(missingProgram(name) !== undefined)(name, () =>
      withPlan(name, (folder) => {
        const { exitCode, stderr } = Bun.spawnSync(command(folder), { env: environment(), cwd: folder });
        expect(exitCode === 0 ? "" : String(stderr)).toBe("");
      }),
    );
  }

  for (const name of Object.keys(contenders).filter((name) => name.startsWith("aralez"))) {
    test(name, () =>
      withPlan(name as ContenderName, (folder) => {
        const { problems } = loadSettings({ file: join(folder, "main.yaml"), text: undefined }, {});
        expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
      }),
    );
  }
});

function withPlan(name: ContenderName, act: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
  try {
    const place = { folder, port: 65_001, originPort: 65_002, echoPort: 65_003, tree: folder, baseline: undefined };
    for (const [file, content] of Object.entries(contenders[name].plan(place).files)) {
      expect(relative(folder, join(folder, file))).toBe(file);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, file), content);
    }
    act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
