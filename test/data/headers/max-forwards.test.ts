/** Max-Forwards of OPTIONS, and of nothing else (RFC 9110 7.6.2). */
import { expect, test } from "bun:test";
import { allowedMethods, answerLastForward, forwardsLeft } from "../../../src/data/headers/max-forwards.ts";
import { maxForwardsMax } from "../../../src/lib/limits.ts";
import { PlainExchange } from "../../support/plain-exchange.ts";

const asked = (sent: string | undefined, method = "OPTIONS") =>
  new PlainExchange({ method, target: "/", ...(sent !== undefined && { fields: { "max-forwards": sent } }) });

test.each([
  ["0", 0],
  ["1", 1],
  ["010", 10],
  ["2147483647", 2_147_483_647],
  ["99999999999999999999999", maxForwardsMax],
  ["9".repeat(400), maxForwardsMax],
] as const)("%p is a count", (sent, left) => {
  expect(forwardsLeft(asked(sent))).toBe(left);
});

// Two lines arrive joined: which of them counts, nobody can say.
test.each([undefined, "", "-1", "+1", "1.0", "0x0", "1e3", " ", "0, 0", "ten", "0 ", "٣"])("%p is none", (sent) => {
  expect(forwardsLeft(asked(sent))).toBeUndefined();
  expect(answerLastForward(asked(sent))).toBeUndefined();
});

test("other methods do not have one", () => {
  for (const method of ["GET", "POST", "HEAD", "options"]) {
    expect(forwardsLeft(asked("0", method))).toBeUndefined();
    expect(answerLastForward(asked("0", method))).toBeUndefined();
  }
});

test("at 0 it ends here, with what is served and no body", () => {
  expect(answerLastForward(asked("0"))).toEqual({
    status: 200,
    fields: [["Allow", allowedMethods]],
    content: undefined,
    why: "",
  });
  expect(answerLastForward(asked("1"))).toBeUndefined();
});
