/** Client addresses as numbers and blocks. */
import { expect, test } from "bun:test";
import { isIP } from "node:net";
import { AddressSet, ipv4Number } from "../../src/lib/address.ts";

test("an IPv4 address is a number exactly where node says that it is one, and blocks of both families hold what they name", () => {
  const texts = ["1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "01.2.3.4", "1.2.3", "1.2.3.4.5", "1..2.3", ""];
  texts.push("1.2.3.4 ", "1.2.3.", ".1.2.3", "::1", "00.0.0.0", "1.2.3.04", "1.2.3.4a", "+1.2.3.4", "1.2.3.-4");
  for (const text of texts) expect([text, ipv4Number(text) >= 0]).toEqual([text, isIP(text) === 4]);
  expect(ipv4Number("255.0.0.1")).toBe(0xff000001);
  const set = new AddressSet(["10.0.0.0/8", "192.0.2.7", "128.0.0.0/1", "fd00::/8", "::ffff:1.2.3.4"]);
  const inside = ["10.255.0.1", "192.0.2.7", "255.255.255.255", "fd00::1", "1.2.3.4"];
  // 128.0.0.0/1 holds the upper half.
  const outside = ["11.0.0.1", "fe80::1", "1.2.3.5", "", "x", "::1"];
  expect(inside.filter((ip) => !set.has(ip))).toEqual([]);
  expect(outside.filter((ip) => set.has(ip))).toEqual([]);
  expect(new AddressSet(["0.0.0.0/0"]).has("9.9.9.9")).toBe(true);
  expect(new AddressSet(["0.0.0.0/0"]).has("::1")).toBe(false);
});
