/** One input through our parser, whole and in pieces, and through the reference: what must hold between them. */
import requests from "./corpus/requests.json" with { type: "json" };
import responses from "./corpus/responses.json" with { type: "json" };
import { mutate, randomOf, split } from "./mutate.ts";
import { readRequests, readResponses } from "./reader.ts";
import { digest, type Message, type Reading } from "./reading.ts";
import { referenceRequests, referenceResponses } from "./reference.ts";

export type Kind = "request" | "response";

export interface Finding {
  kind: Kind;
  seed: number;
  index: number;
  input: string;
  what: string;
}

export interface Tally {
  inputs: number;
  /** messages that both read, alike */
  accepted: number;
  /** our reasons for what the reference accepts, and how often */
  stricter: Map<string, number>;
  findings: Finding[];
}

/**
 * Where ours may refuse what the grammar allows. Anything else that ours refuses alone is a finding too.
 */
export const stricterBecause: Record<string, string> = {
  "a method that is not made of capital letters, _ and -": "no server we stand before tells `get` from `GET` reliably",
  "a malformed target": "schemes other than http and https, hosts with percent-encoding or without a name",
  "an invalid Host": "brackets without an IPv6 address in them, a port above 65,535, a name of dots",
  "a malformed Host": "hosts with percent-encoding, sub-delims or without a name; ports of more than 5 digits",
  "two Content-Length fields": "equal values may be taken for one: a hop behind us may see it otherwise",
  "two Transfer-Encoding fields": "an empty line beside chunked",
  "a malformed Content-Length": "a list of equal values; more than 15 digits",
  "a Transfer-Encoding that is not chunked": "empty list elements beside chunked",
  "a tab beside a Content-Length": "nginx and node refuse it or read something else",
  "a tab beside a Transfer-Encoding": "the same",
  "a Transfer-Encoding beside chunked": "never alone: the reference knows no other coding either",
  "a chunk size that is not hexadecimal": "a blank before a chunk extension (BWS)",
  "a malformed chunk extension": "blanks and obs-text in chunk extensions, as Bun's own parser",
  "a chunk size that is too large": "more than 15 digits, leading zeros counted",
  "too many field lines": "more than 100 in this test",
  "the head is too long": "more than 8 KiB in this test",
  "the target is too long": "more than 4 KiB in this test",
  "too many bytes of chunk extensions": "bounded",
};

const slowMs = 500;

export function fuzzOne(kind: Kind, seed: number, index: number, tally: Tally): void {
  const random = randomOf(seed, index);
  const input = mutate(random, kind === "request" ? requests : responses);
  const whole = Buffer.from(input, "latin1");
  const method = ["GET", "GET", "GET", "HEAD", "CONNECT"][random(5)]!;
  const ours = (pieces: Buffer[]) => (kind === "request" ? readRequests(pieces) : readResponses(pieces, method));
  const report = (what: string) => tally.findings.push({ kind, seed, index, input, what });
  tally.inputs++;
  try {
    const begunMs = performance.now();
    const read = ours([whole]);
    const tookMs = performance.now() - begunMs;
    if (tookMs > slowMs) report(`it took ${Math.round(tookMs)} ms`);
    if (random(4) === 0) {
      const inPieces = ours(split(random, whole));
      if (digest(inPieces) !== digest(read)) report(`in pieces ${digest(inPieces)}, whole ${digest(read)}`);
    }
    const reference = kind === "request" ? referenceRequests(input) : referenceResponses(input, method);
    compare(read, reference, tally, report);
  } catch (error) {
    report(`it threw ${(error as Error).stack}`);
  }
}

function compare(ours: Reading, reference: Reading, tally: Tally, report: (what: string) => void): void {
  for (const [i, message] of ours.messages.entries()) {
    const other = reference.messages[i];
    if (!other)
      return report(
        `accepted, while the reference ends ${reference.state} (${reference.reason}): ${JSON.stringify(message)}`,
      );
    if (!alike(message, other))
      return report(`read as ${JSON.stringify(message)}, by the reference as ${JSON.stringify(other)}`);
    tally.accepted++;
  }
  const behind = reference.messages.length > ours.messages.length;
  if (ours.state === "refused") {
    if (!behind && reference.state === "refused") return;
    // The reference waits for whole lines; bytes refused earlier may still have become a message.
    if (!behind && reference.state === "incomplete") return;
    if (stricterBecause[ours.reason] === undefined)
      return report(`refused for ${ours.reason}, while the reference ends ${reference.state}`);
    tally.stricter.set(ours.reason, (tally.stricter.get(ours.reason) ?? 0) + 1);
    return;
  }
  // A section is judged when it is whole: until then ours may wait where the reference knows already.
  if (ours.state === "incomplete" && !behind && reference.state === "refused") return;
  if (behind || ours.state !== reference.state)
    report(`ends ${ours.state}, while the reference ends ${reference.state} (${reference.reason})`);
}

function alike(a: Message, b: Message): boolean {
  if (a.start !== b.start || a.minor !== b.minor || a.body !== b.body || a.facts !== b.facts) return false;
  return sameLines(a.lines, b.lines) && sameLines(a.trailers, b.trailers);
}

function sameLines(a: Message["lines"], b: Message["lines"]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i]![0] !== b[i]![0] || a[i]![1] !== b[i]![1]) return false;
  return true;
}

export function newTally(): Tally {
  return { inputs: 0, accepted: 0, stricter: new Map(), findings: [] };
}
