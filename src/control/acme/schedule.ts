/** When a certificate is renewed and a failed order repeated: arithmetic on times, without a clock of its own. */
import { acmeBackOffMs, acmeJitterMsMax, acmeLatestMs, acmeRateLimitedMs } from "../../lib/limits.ts";
import { AcmeError } from "./acme-error.ts";

const dayMs = 24 * 3_600_000;
export const renewBeforeDaysDefault = 30;

export interface Term {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** What the server suggests (RFC 9773 4.2). */
export interface Window {
  readonly startMs: number;
  readonly endMs: number;
}

/**
 * The time from which a certificate is to be renewed.
 * @param renewBeforeDays as configured; by default 30, but for short-lived certificates the last third of their term
 * @param suggested counts in place of the default; a configured time counts when it is earlier
 * @param spread 0 to 1, the same for one certificate on every replica: names that began together are not renewed together
 */
export function renewAtMs(
  { notBeforeMs, notAfterMs }: Term,
  renewBeforeDays: number | undefined,
  suggested: Window | undefined,
  spread: number,
): number {
  const termMs = notAfterMs - notBeforeMs;
  const beforeMs =
    renewBeforeDays === undefined
      ? Math.min(renewBeforeDaysDefault * dayMs, termMs / 3)
      : Math.min(renewBeforeDays * dayMs, (termMs * 2) / 3);
  const own = notAfterMs - beforeMs + spread * Math.min(acmeJitterMsMax, termMs / 30);
  if (!suggested) return own;
  // A window that leaves no time to try twice is a mistake of theirs that would cost us the certificate.
  const latest = notAfterMs - Math.min(acmeLatestMs, termMs / 10);
  const theirs = Math.min(suggested.startMs + spread * (suggested.endMs - suggested.startMs), latest);
  return renewBeforeDays === undefined ? theirs : Math.min(own, theirs);
}

/** @param text what is to be spread: a name and its certificate */
export function spreadOf(text: string): number {
  return Number.parseInt(new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 8), 16) / 0x1_0000_0000;
}

/**
 * How long to wait after a failure.
 * @param failures in a row, this one included
 * @param random 0 to 1
 */
export function backOffMs(failures: number, error: unknown, random: number): number {
  const step = acmeBackOffMs[Math.min(failures, acmeBackOffMs.length) - 1]!;
  const own = step * (0.8 + 0.4 * random);
  if (!(error instanceof AcmeError)) return own;
  return Math.max(own, error.retryAfterMs ?? (error.rateLimited ? acmeRateLimitedMs : 0));
}
