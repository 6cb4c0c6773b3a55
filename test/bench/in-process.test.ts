/** The measure inside the process: the proxy answers over a network in memory, with each feature, and gives the real one back. */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { features } from "../../bench/contenders/aralez-features.ts";
import { Metrics } from "../../src/data/observe/metrics.ts";
import { featureTable, measureFeatures } from "../../bench/in-process.ts";

test("each feature is measured against the proxy with none", async () => {
  const { listen, connect } = Bun;
  const { follow } = Metrics.prototype;
  // A folder of its own: the same may run beside this in another process.
  const own = mkdtempSync(join(tmpdir(), "aralez-test-"));
  const { TMPDIR } = process.env;
  process.env.TMPDIR = own;
  const costs = await measureFeatures(100).finally(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
  });
  const left = readdirSync(own);
  rmSync(own, { recursive: true });
  expect(costs.map(({ feature }) => feature)).toEqual([
    "network",
    ...Object.keys(features),
    "uncounted",
  ] as (typeof costs)[number]["feature"][]);
  expect(Metrics.prototype.follow).toBe(follow);
  for (const { us } of costs) expect(us).toBeGreaterThan(0);
  expect(costs.find(({ feature }) => feature === "aralez-none")!.moreUs).toBe(0);
  expect(featureTable(costs)).toContain("| aralez-sticky ");
  expect([Bun.listen, Bun.connect]).toEqual([listen, connect]);
  expect(left).toEqual([]);
});
