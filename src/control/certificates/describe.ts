/** Certificates in words: what changed, what is wrong, what ends soon. */
import type { Problem } from "../../config/problem.ts";
import type { CertificatePair } from "../../data/tls/certificate-set.ts";
import { certificateNamesToldMax, certificatesToldMax } from "../../lib/limits.ts";
import type { PairView } from "./book.ts";

const dayMs = 24 * 3_600_000;

/** "added: shop (shop.test, ECDSA, until 2027-01-01); removed: old"; "" when nothing changed. */
export function describeSetChange(before: readonly CertificatePair[], after: readonly CertificatePair[]): string {
  const byName = (pairs: readonly CertificatePair[]) => new Map(pairs.map((pair) => [pair.name, pair]));
  const [old, now] = [byName(before), byName(after)];
  const parts = [
    told("added", after.filter(({ name }) => !old.has(name)).map(showPair)),
    told("replaced", after.filter(({ name, id }) => old.has(name) && old.get(name)!.id !== id).map(showPair)),
    told(
      "removed",
      before.filter(({ name }) => !now.has(name)).map(({ name, names }) => `${name} (${showNames(names)})`),
    ),
  ];
  return parts.filter((part) => part !== "").join("; ");
}

function told(what: string, items: string[]): string {
  if (items.length === 0) return "";
  const rest = items.length - certificatesToldMax;
  return `${what}: ${items.slice(0, certificatesToldMax).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function showPair(pair: CertificatePair): string {
  return `${pair.name} (${showNames(pair.names)}, ${showKind(pair)}, until ${showDay(pair.notAfterMs)})`;
}

export function showNames(names: readonly string[]): string {
  if (names.length === 0) return "no host name";
  const rest = names.length - certificateNamesToldMax;
  return names.slice(0, certificateNamesToldMax).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

function showKind({ kind }: CertificatePair): string {
  return kind === "ed25519" ? "Ed25519" : kind.toUpperCase();
}

export function showDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Whole days until then; below 0 once it is over. */
export function daysLeft(notAfterMs: number, nowMs: number): number {
  return Math.floor((notAfterMs - nowMs) / dayMs);
}

/** Everything to be said about the files of one pair as they lie there, worst first. */
export function problemsOf(view: PairView): Problem[] {
  const { place, pair, state, fault } = view;
  const problems: Problem[] = [];
  if (fault) {
    // A lone .crt may be a CA file, a lone .key one that was just made: nobody asked for them to be served.
    const severity = state === "incomplete" ? "note" : pair ? "warning" : "error";
    const file = fault.which === "crt" ? place.crt : place.key;
    const line = fault.line > 1 ? `, line ${fault.line}` : "";
    const rest = pair ? `; its last good version, until ${showDay(pair.notAfterMs)}, is served on` : "";
    problems.push({
      ...located(file, fault.line),
      severity,
      message: `Cannot use "${file}"${line}: ${fault.message}${rest}`,
    });
  }
  if (!pair) return problems;
  const warn = (message: string) => problems.push({ ...located(place.crt), severity: "warning", message });
  if (state === "expired") warn(`"${place.crt}" expired on ${showDay(pair.notAfterMs)}, and is served on`);
  if (state === "not-yet-valid")
    warn(`"${place.crt}" is not valid before ${showDay(pair.notBeforeMs)}, and is served already`);
  if (!fault) for (const warning of pair.warnings) warn(`"${place.crt}": ${warning}`);
  return problems;
}

/** A problem of one file, whose message names it: it is read in the log, where nothing else does. @param line from 1 */
export function located(file: string, line = 1): Omit<Problem, "severity" | "message"> {
  return { code: "certificate", file, line, column: 1, path: "" };
}
