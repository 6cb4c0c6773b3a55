/** The chart: one SVG that holds every figure as text, and follows the reader's colours. */
import { expect, test } from "bun:test";
import { chart } from "../../bench/chart.ts";

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

test("bars are as long as their ratio, what is cut or not valid says so, and scenarios without nginx are left out", () => {
  const rounds = { aralez: [round(18)], nginx: [round(20)], caddy: [round(100)], haproxy: [round(20, 1)] };
  const svg = chart(
    [
      { scenario: "small & <plain>", reference: "nginx", rounds },
      { scenario: "features", reference: "aralez-none", rounds: { "aralez-none": [round(1)] } },
    ],
    "a machine",
  );
  const lengths = [...svg.matchAll(/width="(\d+)" height="14"/g)].map(([, length]) => Number(length));
  expect(lengths).toHaveLength(4);
  expect(lengths[0]! / lengths[1]!).toBeCloseTo(0.9, 1);
  expect(lengths[2]! / lengths[1]!).toBeCloseTo(3, 1);
  expect(svg).toContain(">0.90 · 18 µs</text>");
  expect(svg).toContain(">5.00 · 100 µs →</text>");
  expect(svg).toContain(">not valid</text>");
  expect(svg).toContain("small &amp; &lt;plain&gt;");
  expect(svg).toContain("prefers-color-scheme: dark");
  expect(svg).not.toContain("features");
  // Well-formed: the parser of HTML is lenient, so tags are counted.
  const opened = [...svg.matchAll(/<(?!\/|!)(\w+)[^>]*?(\/?)>/g)].filter(([, , closed]) => closed === "");
  expect([...svg.matchAll(/<\/\w+>/g)]).toHaveLength(opened.length);
});
