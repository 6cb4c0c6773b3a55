/**
 * Fuzzes the HTTP/1.1 parsers against the reference: `bun run fuzz [--inputs N] [--seed S] [--from I]`. Half of the
 * inputs are requests, half responses; `--http2` fuzzes conversations of HTTP/2 instead. Exits 1 with a finding;
 * `--seed S --from I --inputs 1` repeats it.
 */
import { parseArgs } from "node:util";
import { fuzzHttp2, newHttp2Tally } from "./http2.ts";
import { fuzzOne, newTally, stricterBecause } from "./compare.ts";

const findingsShownMax = 20;

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: String((Math.random() * 2 ** 31) | 0) },
    from: { type: "string", default: "0" },
    http2: { type: "boolean", default: false },
  },
});
const [inputs, seed, from] = [count("inputs"), count("seed"), count("from")];

if (values.http2) process.exit(conversations());

const tally = newTally();
const begunMs = performance.now();
let saidMs = begunMs;
for (let index = from; index < from + inputs && tally.findings.length < findingsShownMax; index++) {
  fuzzOne(index % 2 === 0 ? "request" : "response", seed, index, tally);
  if ((index & 0xfff) === 0 && performance.now() - saidMs > 10_000) {
    saidMs = performance.now();
    console.error(`${tally.inputs} inputs, ${rate()} inputs/s, ${tally.findings.length} findings`);
  }
}

for (const { kind, index, input, what } of tally.findings) {
  console.log(`FINDING ${kind} --seed ${seed} --from ${index} --inputs 1\n  ${JSON.stringify(input)}\n  ${what}`);
}
console.log(
  `${tally.inputs} inputs of seed ${seed}, ${rate()} inputs/s, ${tally.accepted} messages accepted, ${tally.findings.length} findings`,
);
console.log("refused, though the grammar allows it:");
for (const [reason, times] of [...tally.stricter].sort((a, b) => b[1] - a[1])) {
  console.log(`  ${times} × ${reason} (${stricterBecause[reason]})`);
}
process.exitCode = tally.findings.length > 0 ? 1 : 0;

/** @returns the exit code */
function conversations(): number {
  const found = newHttp2Tally();
  for (let index = from; index < from + inputs && found.findings.length < findingsShownMax; index++) {
    fuzzHttp2(seed, index, found);
  }
  for (const { index, what } of found.findings) {
    console.log(`FINDING --http2 --seed ${seed} --from ${index} --inputs 1\n  ${what}`);
  }
  const errors = [...found.errors].map(([name, times]) => `${times} × ${name}`).join(", ");
  console.log(`${found.inputs} conversations of seed ${seed}, ${found.messages} messages, ${errors}`);
  return found.findings.length > 0 ? 1 : 0;
}

function rate(): number {
  return Math.round((tally.inputs / (performance.now() - begunMs)) * 1000);
}

function count(name: "inputs" | "seed" | "from"): number {
  const number = Number(values[name]);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`Cannot use --${name} "${values[name]}": expected a whole number`);
  process.exit(2);
}
