/** The measure inside the process: the proxy answers over a network in memory, with each feature, and gives the real one back. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { features } from "../../bench/contenders/aralez-features.ts";
import { featureTable, measureFeatures } from "../../bench/in-process.ts";

test("each feature is measured against the proxy with none", async () => {
  const { listen, connect } = Bun;
  const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith("aralez-in-process-"));
  const before = folders();
  const costs = await measureFeatures(100);
  expect(costs.map(({ feature }) => feature)).toEqual([
    "network",
    ...Object.keys(features),
  ] as (typeof costs)[number]["feature"][]);
  for (const { us } of costs) expect(us).toBeGreaterThan(0);
  expect(costs.find(({ feature }) => feature === "aralez-none")!.moreUs).toBe(0);
  expect(featureTable(costs)).toContain("| aralez-sticky ");
  expect([Bun.listen, Bun.connect]).toEqual([listen, connect]);
  expect(folders()).toEqual(before);
});
