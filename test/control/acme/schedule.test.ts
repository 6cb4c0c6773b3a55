/** When ACME renews and repeats. */
import { describe, expect, test } from "bun:test";
import { AcmeError } from "../../../src/control/acme/acme-error.ts";
import { readRetryAfter } from "../../../src/control/acme/client.ts";
import { backOffMs, renewAtMs, spreadOf } from "../../../src/control/acme/schedule.ts";

const day = 24 * 3_600_000;
const term = (days: number) => ({ notBeforeMs: 0, notAfterMs: days * day });

describe("renewal", () => {
  test("is 30 days before the end, spread over the day after", () => {
    expect(renewAtMs(term(90), undefined, undefined, 0)).toBe(60 * day);
    expect(renewAtMs(term(90), undefined, undefined, 0.5)).toBe(60.5 * day);
    expect(renewAtMs(term(90), 10, undefined, 0)).toBe(80 * day);
  });

  test("of a short-lived certificate waits for two thirds of its term, whatever is configured for a third", () => {
    expect(renewAtMs(term(6), undefined, undefined, 0)).toBe(4 * day);
    expect(renewAtMs(term(6), 30, undefined, 0)).toBe(2 * day);
    expect(renewAtMs(term(6), undefined, undefined, 1)).toBeLessThan(6 * day);
  });

  test("follows the server's window, and a configured time that is earlier", () => {
    const window = { startMs: 62 * day, endMs: 64 * day };
    expect(renewAtMs(term(90), undefined, window, 0)).toBe(62 * day);
    expect(renewAtMs(term(90), undefined, window, 0.5)).toBe(63 * day);
    expect(renewAtMs(term(90), 40, window, 0)).toBe(50 * day);
    expect(renewAtMs(term(90), 10, window, 0)).toBe(62 * day);
  });

  test("a window at the very end, or behind it, does not cost the certificate", () => {
    const late = { startMs: 89.9 * day, endMs: 5_000 * day };
    for (const spread of [0, 0.5, 1]) {
      expect(renewAtMs(term(90), undefined, late, spread)).toBe(87 * day);
      expect(renewAtMs(term(6), undefined, late, spread)).toBeCloseTo(5.4 * day, 0);
    }
  });

  test("is spread evenly, and for one certificate always the same", () => {
    const spreads = Array.from({ length: 2_000 }, (_, i) => spreadOf(`name-${i}`));
    expect(spreadOf("name-1")).toBe(spreads[1]!);
    for (const quarter of [0, 0.25, 0.5, 0.75])
      expect(spreads.filter((spread) => spread >= quarter && spread < quarter + 0.25).length).toBeWithin(400, 600);
  });
});

describe("back-off", () => {
  test("grows from a minute to half a day", () => {
    const minutes = [1, 2, 3, 4, 5, 6, 7, 1_000].map((failures) => backOffMs(failures, new Error(), 0.5) / 60_000);
    expect(minutes).toEqual([1, 5, 15, 60, 240, 720, 720, 720]);
    expect([0, 1].map((random) => Math.round(backOffMs(1, new Error(), random)))).toEqual([48_000, 72_000]);
  });

  test("is at least what the server asks for, and an hour at a rate limit without a word", () => {
    expect(backOffMs(1, new AcmeError("", "rateLimited", 429, 7_200_000), 0)).toBe(7_200_000);
    expect(backOffMs(1, new AcmeError("", "rateLimited", 429), 0)).toBe(3_600_000);
    expect(backOffMs(1, new AcmeError("", "", 503, 90_000), 0)).toBe(90_000);
  });

  test("Retry-After is read as seconds or a date, within a week", () => {
    const nowMs = Date.UTC(2026, 0, 1);
    expect(readRetryAfter("120", nowMs)).toBe(120_000);
    expect(readRetryAfter("Thu, 01 Jan 2026 00:01:00 GMT", nowMs)).toBe(60_000);
    expect(readRetryAfter("Wed, 31 Dec 2025 00:00:00 GMT", nowMs)).toBe(0);
    expect(readRetryAfter("99999999999", nowMs)).toBe(7 * day);
    for (const none of [null, "soon", "-"]) expect(readRetryAfter(none, nowMs)).toBeUndefined();
  });
});
