/**
 * Fuzzes the HTTP/1.1 parsers against the reference: `bun run fuzz [--inputs N] [--seed S] [--from I]`. Half of the
 * inputs are requests, half responses; with `--listener` they are bytes for a whole connection of the listener instead,
 * with `--http2` conversations of HTTP/2.
 * Exits 1 with a finding; `--seed S --from I --inputs 1` repeats it.
 */
import { parseArgs } from "node:util";
import { fuzzHttp2, newHttp2Tally } from "./http2.ts";
import { fuzzOne, newTally, stricterBecause } from "./compare.ts";
import { fuzzListener, newListenerTally } from "./listener.ts";

const findingsShownMax = 20;

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: String((Math.random() * 2 ** 31) | 0) },
    from: { type: "string", default: "0" },
    listener: { type: "boolean", default: false },
    http2: { type: "boolean", default: false },
  },
});
const [inputs, seed, from] = [count("inputs"), count("seed"), count("from")];

const begunMs = performance.now();
let saidMs = begunMs;
process.exitCode =
  (await (values.http2 ? runConversations() : values.listener ? runListener() : runParsers())) > 0 ? 1 : 0;

/** @returns how many findings */
async function runParsers(): Promise<number> {
  const tally = newTally();
  for (let index = from; index < from + inputs && tally.findings.length < findingsShownMax; index++) {
    fuzzOne(index % 2 === 0 ? "request" : "response", seed, index, tally);
    say(tally.inputs, tally.findings.length);
  }
  for (const { kind, index, input, what } of tally.findings) show(kind, index, input, what, "");
  console.log(
    `${tally.inputs} inputs of seed ${seed}, ${rate(tally.inputs)} inputs/s, ${tally.accepted} messages accepted, ${tally.findings.length} findings`,
  );
  console.log("refused, though the grammar allows it:");
  for (const [reason, times] of [...tally.stricter].sort((a, b) => b[1] - a[1])) {
    console.log(`  ${times} × ${reason} (${stricterBecause[reason]})`);
  }
  return tally.findings.length;
}

/** @returns how many findings */
async function runListener(): Promise<number> {
  const tally = newListenerTally();
  for (let index = from; index < from + inputs && tally.findings.length < findingsShownMax; index++) {
    await fuzzListener(seed, index, tally);
    say(tally.inputs, tally.findings.length);
  }
  for (const { index, input, what } of tally.findings) show("connection", index, input, what, "--listener ");
  console.log(
    `${tally.inputs} inputs of seed ${seed}, ${rate(tally.inputs)} inputs/s, ${tally.accepted} requests accepted, ` +
      `${tally.refused} refused, ${tally.findings.length} findings`,
  );
  return tally.findings.length;
}

/** @returns how many findings */
function runConversations(): number {
  const tally = newHttp2Tally();
  for (let index = from; index < from + inputs && tally.findings.length < findingsShownMax; index++) {
    fuzzHttp2(seed, index, tally);
    say(tally.inputs, tally.findings.length);
  }
  for (const { index, what } of tally.findings) show("conversation", index, "", what, "--http2 ");
  const errors = [...tally.errors].map(([name, times]) => `${times} × ${name}`).join(", ");
  console.log(`${tally.inputs} conversations of seed ${seed}, ${tally.messages} messages, ${errors}`);
  return tally.findings.length;
}

function show(kind: string, index: number, input: string, what: string, option: string): void {
  console.log(
    `FINDING ${kind} ${option}--seed ${seed} --from ${index} --inputs 1\n  ${JSON.stringify(input)}\n  ${what}`,
  );
}

/** Every ten seconds, how far it is. */
function say(done: number, findings: number): void {
  if ((done & 0xff) !== 0 || performance.now() - saidMs < 10_000) return;
  saidMs = performance.now();
  console.error(`${done} inputs, ${rate(done)} inputs/s, ${findings} findings`);
}

function rate(done: number): number {
  return Math.round((done / (performance.now() - begunMs)) * 1000);
}

function count(name: "inputs" | "seed" | "from"): number {
  const number = Number(values[name]);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`Cannot use --${name} "${values[name]}": expected a whole number`);
  process.exit(2);
}
