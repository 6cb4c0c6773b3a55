/** A short run of the fuzzer; `bun run fuzz` runs it for longer. */
import { describe, expect, test } from "bun:test";
import requests from "./corpus/requests.json" with { type: "json" };
import responses from "./corpus/responses.json" with { type: "json" };
import { fuzzOne, newTally, type Kind } from "./compare.ts";
import { fuzzHttp2, newHttp2Tally } from "./http2.ts";
import { randomOf } from "./mutate.ts";
import { readRequests, readResponses } from "./reader.ts";
import { digest, type Reading } from "./reading.ts";

const long = process.env.ARALEZ_LONG === "1";
// A fixed seed keeps a failure repeatable; the long run looks for what it does not know yet.
const seed = long ? (Math.random() * 2 ** 31) | 0 : 20_261_121;
const inputs = long ? 2_000_000 : 60_000;

describe("mutated messages", () => {
  for (const kind of ["request", "response"] satisfies Kind[]) {
    test(`a ${kind} parser accepts nothing that the grammar refuses, and reads the rest as the grammar does`, () => {
      const tally = newTally();
      for (let index = 0; index < inputs / 2; index++) fuzzOne(kind, seed, index, tally);
      expect(tally.findings.slice(0, 5)).toEqual([]);
      // A fuzzer whose inputs are all refused would prove nothing.
      expect(tally.accepted).toBeGreaterThan(inputs / 50);
    }, 600_000);
  }
});

test("HTTP/2 conversations with damaged frames throw nothing, pass nothing on that no line could hold, and read the same in any pieces", () => {
  const tally = newHttp2Tally();
  for (let index = 0; index < inputs / 12; index++) fuzzHttp2(seed, index, tally);
  expect(tally.findings.slice(0, 5)).toEqual([]);
  expect(tally.messages).toBeGreaterThan(inputs / 24);
  // Every kind of fault is found now and then.
  expect([...tally.errors.keys()].sort()).toContainEqual("COMPRESSION_ERROR");
  expect(tally.errors.size).toBeGreaterThanOrEqual(4);
}, 600_000);

describe("however the bytes arrive", () => {
  const readers: Record<Kind, [readonly string[], (pieces: Buffer[]) => Reading]> = {
    request: [requests, readRequests],
    response: [responses, (pieces) => readResponses(pieces, "GET")],
  };
  for (const [kind, [corpus, read]] of Object.entries(readers)) {
    test(`a ${kind} reads the same in two pieces, cut anywhere, and byte by byte`, () => {
      for (const text of corpus) {
        const whole = Buffer.from(text, "latin1");
        const expected = digest(read([whole]));
        for (let cut = 0; cut <= whole.length; cut++) {
          const got = digest(read([whole.subarray(0, cut), whole.subarray(cut)]));
          if (got !== expected) expect({ text, cut, got }).toEqual({ text, cut, got: expected });
        }
        const singly = digest(read(Array.from(whole, (_, i) => whole.subarray(i, i + 1))));
        if (singly !== expected) expect({ text, singly }).toEqual({ text, singly: expected });
      }
    });

    test(`the same ${kind}s read the same in three pieces, cut anywhere`, () => {
      const random = randomOf(7, 7);
      for (const text of corpus) {
        const whole = Buffer.from(text, "latin1");
        const expected = digest(read([whole]));
        for (let i = 0; i < (long ? 5_000 : 200); i++) {
          const [a, b] = [random(whole.length + 1), random(whole.length + 1)].sort((x, y) => x - y) as [number, number];
          const got = digest(read([whole.subarray(0, a), whole.subarray(a, b), whole.subarray(b)]));
          if (got !== expected) expect({ text, a, b, got }).toEqual({ text, a, b, got: expected });
        }
      }
    });
  }
});
