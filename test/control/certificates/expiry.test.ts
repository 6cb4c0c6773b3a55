/** Reminders of certificates that end soon. */
import { expect, test } from "bun:test";
import { ExpiryReminders } from "../../../src/control/certificates/expiry.ts";
import type { CertificatePair } from "../../../src/data/tls/certificate-set.ts";

const dayMs = 86_400_000;

function pair(name: string, notAfterMs: number, state: CertificatePair["state"] = "valid"): CertificatePair {
  const file = `/certs/${name}.crt`;
  return {
    id: name,
    name,
    file,
    names: [`${name}.test`],
    kind: "rsa",
    certPem: "",
    keyPem: "",
    notBeforeMs: 0,
    notAfterMs,
    state,
  };
}

/** Days left (whole ones, at noon) on which a line came, looking every hour from `from` days before the end. */
function daysTold(from: number, to: number): number[] {
  const reminders = new ExpiryReminders();
  const endMs = 1_000 * dayMs;
  const told: number[] = [];
  for (let atMs = endMs - (from + 0.5) * dayMs; atMs <= endMs - to * dayMs; atMs += dayMs / 24)
    for (const line of reminders.due([pair("a", endMs)], atMs)) {
      told.push(Math.floor((endMs - atMs) / dayMs));
      expect(line).toContain("a (a.test)");
      expect(line).toContain("/certs/a.crt");
    }
  return told;
}

test("come at 30, 14, 7 and 1 days, then once a day, also when it is over", () => {
  expect(daysTold(40, -2.4)).toEqual([30, 14, 7, 1, 0, -1, -2, -3]);
});

test("come at once for what is already late", () => {
  expect(daysTold(10, 9)).toEqual([10]);
  expect(daysTold(3, 2)).toEqual([3]);
});

test("of a pair that is over already the folder's own problem tells; a day later it is reminded of", () => {
  const reminders = new ExpiryReminders();
  const old = pair("old", 0, "expired");
  expect(reminders.due([old], 5 * dayMs)).toEqual([]);
  expect(reminders.due([old], 5.5 * dayMs)).toEqual([]);
  expect(reminders.due([old], 6 * dayMs)).toEqual([
    "certificate old (old.test) expired, on 1970-01-01: /certs/old.crt",
  ]);
});

test("a renewed certificate is quiet, the placeholder always", () => {
  const reminders = new ExpiryReminders();
  expect(reminders.due([pair("a", 5 * dayMs)], 0)).toHaveLength(1);
  expect(reminders.due([{ ...pair("a", 90 * dayMs), id: "new" }], 0)).toEqual([]);
  expect(reminders.due([pair("placeholder", dayMs, "placeholder")], 0)).toEqual([]);
});
