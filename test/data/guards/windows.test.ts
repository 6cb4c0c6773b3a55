/** Windows count exactly what they track, by IPv4 address or IPv6 /64, and never take more memory than they were given. */
import { describe, expect, test } from "bun:test";
import { clientKey } from "../../../src/data/guards/limits/client-key.ts";
import { InFlightMap } from "../../../src/data/guards/limits/in-flight.ts";
import { scopeOf } from "../../../src/data/guards/limits/scope.ts";
import { WindowTable } from "../../../src/data/guards/limits/windows.ts";
import { limiterBytesMax } from "../../../src/lib/limits.ts";

const scope = scopeOf("rate_limit", "a.test");
const ann = clientKey("192.0.2.1");
const bob = clientKey("192.0.2.2");

describe("a window", () => {
  test("starts with the first event and ends after its time, whatever comes in between", () => {
    const windows = new WindowTable(1_000);
    expect([windows.count(scope, ann, 0), windows.leftMs(scope, ann, 0)]).toEqual([0, 0]);
    expect([10, 500, 1_009].map((now) => windows.add(scope, ann, now))).toEqual([1, 2, 3]);
    expect(windows.leftMs(scope, ann, 1_009)).toBe(1);
    expect(windows.count(scope, ann, 1_010)).toBe(0);
    expect(windows.add(scope, ann, 1_010)).toBe(1);
    expect(windows.leftMs(scope, ann, 1_510)).toBe(500);
  });
  test("belongs to one client and one scope", () => {
    const windows = new WindowTable(1_000);
    windows.add(scope, ann, 0);
    expect(windows.add(scope, bob, 0)).toBe(1);
    expect(windows.add(scopeOf("rate_limit", "b.test"), ann, 0)).toBe(1);
    expect(windows.add(scopeOf("rate_limit", "a.test", "/x"), ann, 0)).toBe(1);
    expect(windows.add(scopeOf("x4xx_limit", "a.test"), ann, 0)).toBe(1);
    expect(windows.count(scope, ann, 0)).toBe(1);
  });
  test("is counted exactly for 100,000 clients at once", () => {
    const windows = new WindowTable(1_000);
    const client = (i: number) => clientKey(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 100_000; i++) {
        const count = windows.add(scope, client(i), round);
        if (count !== round) throw new Error(`client ${i}: expected ${round}, found ${count}`);
      }
    }
    expect(windows.count(scope, client(99_999), 4)).toBe(3);
  });
  test("of a client that is being limited survives a flood of other addresses in a small table", () => {
    const windows = new WindowTable(1_000, 32 * 32 * 4);
    for (let i = 0; i < 50; i++) windows.add(scope, ann, 0);
    for (let i = 0; i < 100_000; i++) windows.add(scope, { high: i, low: i * 7 }, 1);
    expect(windows.count(scope, ann, 2)).toBe(50);
  });
  test("has room in the table for half a million clients within a quarter of the bound", () => {
    expect(new WindowTable(1_000).bytes).toBe(limiterBytesMax / 4);
    expect(limiterBytesMax / 4 / 32).toBe(2 ** 19);
  });
});

describe("a client", () => {
  test("of IPv4 is an address, of IPv6 a /64", () => {
    expect(clientKey("192.0.2.1")).not.toEqual(clientKey("192.0.2.2"));
    expect(clientKey("2001:db8:0:1::1")).toEqual(clientKey("2001:db8:0:1:ffff:ffff:ffff:ffff"));
    expect(clientKey("2001:db8:0:1::1")).not.toEqual(clientKey("2001:db8:0:2::1"));
    expect(clientKey("2001:db8::1")).not.toEqual(clientKey("2001:db9::1"));
  });
  test("of one family is never one of the other, nor nobody", () => {
    const keys = ["0.0.0.0", "255.255.255.255", "::1", "::fffe:0:1", "ff02::1", ""].map((ip) => clientKey(ip));
    expect(new Set(keys.map((key) => `${key.high} ${key.low}`)).size).toBe(5);
    // Two addresses of one /64, and nothing else, are the same.
    expect(clientKey("::1")).toEqual(clientKey("::fffe:0:1"));
  });
});

describe("requests in flight", () => {
  test("are let in up to the bound, and forgotten when the last one leaves", () => {
    const inFlight = new InFlightMap();
    expect([1, 2, 3].map(() => inFlight.enter(scope, ann, 2))).toEqual([true, true, false]);
    expect(inFlight.enter(scope, bob, 2)).toBe(true);
    inFlight.leave(scope, ann);
    expect(inFlight.enter(scope, ann, 2)).toBe(true);
    for (const client of [ann, ann, bob]) inFlight.leave(scope, client);
    expect(inFlight.size).toBe(0);
    inFlight.leave(scope, bob);
    expect(inFlight.enter(scope, bob, 1)).toBe(true);
  });
});
