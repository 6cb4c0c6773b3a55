/** Reminders of certificates that end soon: at 30, 14, 7 and 1 days, and each day from the last one on. */
import type { CertificatePair } from "../../data/tls/certificate-set.ts";
import { daysLeft, showDay, showNames } from "./describe.ts";

const steps = [1, 7, 14, 30] as const;

const dayMs = 24 * 3_600_000;

/** The step a pair was told for (0 = it is over), and when. */
interface Told {
  readonly step: number;
  readonly atMs: number;
}

export class ExpiryReminders {
  /** by the id of the pair */
  #told = new Map<string, Told>();

  /** @returns the lines that are due. That a pair is over is told by its problem; the days after by a line each. */
  due(pairs: readonly CertificatePair[], nowMs: number): string[] {
    const lines: string[] = [];
    const told = new Map<string, Told>();
    for (const pair of pairs) {
      if (pair.state === "placeholder") continue;
      const days = daysLeft(pair.notAfterMs, nowMs);
      const step = days < 0 ? 0 : steps.find((step) => days <= step);
      if (step === undefined) continue;
      const before = this.#told.get(pair.id);
      const again = step <= 1 && before !== undefined && nowMs - before.atMs >= dayMs;
      if (before && before.step === step && !again) {
        told.set(pair.id, before);
        continue;
      }
      told.set(pair.id, { step, atMs: nowMs });
      if (step > 0 || before) lines.push(reminder(pair, days));
    }
    this.#told = told;
    return lines;
  }
}

function reminder({ name, names, file, notAfterMs }: CertificatePair, days: number): string {
  const when =
    days < 0 ? "expired" : days < 1 ? "expires within a day" : `expires in ${days} day${days === 1 ? "" : "s"}`;
  return `certificate ${name} (${showNames(names)}) ${when}, on ${showDay(notAfterMs)}: ${file}`;
}
