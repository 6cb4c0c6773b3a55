/**
 * The listener's connection under mutated bytes: cut anywhere, into a transport that takes as much as it likes, with
 * handlers that answer early, late, partly or not at all. Whatever comes, each request that was accepted gets exactly one
 * answer, in its order, and nothing waits for ever.
 */
import type { Body, BodySink } from "../../src/data/body.ts";
import type { Answer, Reply } from "../../src/data/exchange.ts";
import { Failure } from "../../src/data/failure.ts";
import { refuse } from "../../src/data/guards/guard.ts";
import { noEdits } from "../../src/data/headers/edits.ts";
import { Http1Connection } from "../../src/data/listen/http1.ts";
import type { Http1Exchange } from "../../src/data/listen/http1-exchange.ts";
import type { Site, SocketListenerOptions } from "../../src/data/listen/socket.ts";
import { Refusals } from "../../src/data/observe/refusals.ts";
import type { Transport } from "../../src/data/wire/transport.ts";
import { NumberedSet } from "../../src/lib/numbered-set.ts";
import { Sweeper } from "../../src/lib/sweeper.ts";
import requests from "./corpus/requests.json" with { type: "json" };
import { mutate, randomOf, split, type Random } from "./mutate.ts";
import { readAnswers, type ReadAnswer } from "./read-answers.ts";
import { readRequests, testLimits } from "./reader.ts";

export interface ListenerTally {
  inputs: number;
  /** requests that reached a handler */
  accepted: number;
  /** answers to what is no request */
  refused: number;
  findings: { seed: number; index: number; input: string; what: string }[];
}

export function newListenerTally(): ListenerTally {
  return { inputs: 0, accepted: 0, refused: 0, findings: [] };
}

const hour = 3_600_000;
/** A handler of this test needs fewer turns of the loop than this. */
const turnsMax = 60;

/** What a handler does with the body, and then answers. */
const reads = ["whole", "whole", "whole", "slowly", "not", "a part"] as const;
const answers = ["own", "own", "own", "length", "chunked", "broken", "nothing", "fault"] as const;
const endings = ["silence", "fin", "fin at once", "reset"] as const;
const waits = ["none", "none", "a microtask", "a turn"] as const;

interface Seen {
  readonly exchange: Http1Exchange;
  /** method and target as they came */
  readonly start: string;
  readonly reads: (typeof reads)[number];
  readonly answers: (typeof answers)[number];
  body: string;
  whole: boolean;
  replied: boolean;
  /** it threw instead of answering */
  faulted: boolean;
  /** times that its end was told */
  ended: number;
  cut: boolean;
}

export async function fuzzListener(seed: number, index: number, tally: ListenerTally): Promise<void> {
  const random = randomOf(seed, index);
  // Several messages on one connection, so that what follows a broken one is tried too.
  const message = () => (random(2) === 0 ? mutate(random, requests) : requests[random(requests.length)]!);
  const input = Array.from({ length: 1 + random(3) }, message)
    .join("")
    .slice(0, 4_096);
  const run = new Run(random, input);
  tally.inputs++;
  try {
    await run.play();
  } catch (error) {
    run.report(`it threw ${(error as Error).stack}`);
  }
  tally.accepted += run.seen.length;
  tally.refused += run.refused;
  tally.findings.push(...run.findings.map((what) => ({ seed, index, input, what })));
}

/** What a connection needs of its listener, without one. */
export function siteOf({
  gone,
  ...told
}: Pick<SocketListenerOptions, "handle" | "ended" | "failed"> & Pick<Site, "gone">): Site {
  return {
    options: {
      ...told,
      address: { hostname: "127.0.0.1", port: 0 },
      timeouts: () => ({ idleSeconds: 75, bodyMs: 60_000, writeMs: 60_000, headerMs: 10_000 }),
      headBytesMax: testLimits.headBytesMax,
      requestsMax: () => 0,
      connectionsMax: () => 0,
      log: () => {},
    },
    sweeper: new Sweeper(hour),
    connections: new NumberedSet(),
    refusals: new Refusals(),
    port: 80,
    draining: false,
    gone,
  };
}

class Run {
  readonly findings: string[] = [];
  readonly seen: Seen[] = [];
  refused = 0;
  #gone = 0;
  /** how the client leaves */
  readonly #ending: (typeof endings)[number];
  #faults = 0;
  readonly #transport: FuzzTransport;
  readonly #connection: Http1Connection;

  constructor(
    readonly random: Random,
    readonly input: string,
  ) {
    this.#ending = endings[random(endings.length)]!;
    this.#transport = new FuzzTransport(random, (what) => this.report(what));
    const site = siteOf({
      handle: (exchange) => {
        const reply = this.#handle(exchange as Http1Exchange);
        if (!(reply instanceof Promise)) return exchange.reply(reply);
        reply.then(
          (late) => exchange.reply(late),
          (error: unknown) => exchange.fault(error),
        );
      },
      ended: (exchange, { cut }) => {
        const seen = this.seen.find((one) => one.exchange === exchange);
        if (!seen) return this.report("the end of an exchange that was never handled");
        seen.ended++;
        seen.cut = cut;
      },
      failed: () => this.#faults++,
      gone: () => this.#gone++,
    });
    this.#connection = new Http1Connection(this.#transport, "127.0.0.1", site, () => {});
  }

  report(what: string): void {
    const told = this.seen.map(({ start, reads, answers, whole, ended, cut }) => [
      start,
      reads,
      answers,
      whole,
      ended,
      cut,
    ]);
    this.findings.push(`${what}; ${this.#ending}; exchanges ${JSON.stringify(told)}`);
  }

  async play(): Promise<void> {
    const whole = Buffer.from(this.input, "latin1");
    const ending = this.#ending;
    for (const piece of split(this.random, whole)) {
      await this.#untilUnpaused();
      // Each chunk of Bun has memory of its own, which the engine may give back.
      if (!this.#transport.closed) this.#connection.data(Buffer.from(Uint8Array.from(piece).buffer));
      this.#transport.breathe(this.#connection);
      if (this.random(3) === 0) await turn();
    }
    await this.#untilUnpaused();
    if (ending === "fin at once") this.#connection.end();
    await this.#settle();
    const silentBefore = this.#transport.written.length;
    this.#compare(ending === "fin at once");
    if (ending === "fin") this.#connection.end();
    if (ending === "reset") {
      this.#transport.closed = true;
      this.#connection.close();
    }
    await this.#settle();
    // An hour of silence: nothing may still wait behind it.
    for (let i = 1; i <= 4 && !this.#transport.closed; i++) {
      this.#connection.sweep(performance.now() + i * hour);
      await this.#settle();
    }
    if (!this.#transport.closed) this.report(`still open an hour after ${ending} (${silentBefore} bytes answered)`);
    // Bun tells the end once more.
    this.#connection.close();
    await this.#settle();
    if (this.#gone !== 1) this.report(`gone ${this.#gone} times`);
    if (this.#faults !== this.seen.filter((one) => one.faulted).length)
      this.report(`${this.#faults} faults of its own`);
    for (const [at, { start, ended }] of this.seen.entries())
      if (ended !== 1) this.report(`exchange ${at} (${start}) ended ${ended} times`);
    this.#readOutput();
  }

  /** Every request that is there as a whole has been handled and answered, and was read as the parser alone reads it. */
  #compare(halfClosed: boolean): void {
    const { messages, reason } = readRequests([Buffer.from(this.input, "latin1")]);
    const wholes = this.seen.filter((one) => one.whole);
    for (const [at, one] of this.seen.entries()) {
      const message = messages[at];
      if (message && message.start !== one.start) this.report(`${at}: handled ${one.start}, read ${message.start}`);
      if (message && one.whole && message.body !== one.body)
        this.report(`${at}: body ${JSON.stringify(one.body)}, read ${JSON.stringify(message.body)}`);
      if (!message && one.whole && reason !== "an invalid Host") this.report(`${at}: ${one.start} read by nobody else`);
      // One whose body is still to come may wait for it.
      if (one.ended === 0 && (one.whole || one.reads === "not")) this.report(`${at}: ${one.start} is not answered`);
    }
    // What does not read its body, or breaks its answer, may end the connection before the next request.
    const gentle = this.seen.every(
      (one) =>
        one.reads !== "not" &&
        one.reads !== "a part" &&
        one.answers !== "broken" &&
        (one.answers !== "chunked" || one.exchange.version !== "HTTP/1.0"),
    );
    if (gentle && wholes.length < messages.length)
      this.report(
        `complete requests ${halfClosed ? "behind a FIN " : ""}not handled: ${messages.length - wholes.length} of ${messages.length}`,
      );
    if (gentle && reason === "" && messages.length < this.seen.length - 1) this.report("more exchanges than requests");
  }

  #readOutput(): void {
    const methods = this.seen.map(({ exchange }) => exchange.method);
    const { answers, rest, problem } = readAnswers(this.#transport.written, methods);
    const cut = this.seen.some((one) => one.cut);
    if (problem !== "") return this.report(`the output: ${problem}`);
    if (rest !== "" && !cut) this.report(`the output ends in ${JSON.stringify(rest.slice(0, 200))}`);
    const own = answers.filter(({ id }) => id !== undefined);
    for (const [at, { id }] of own.entries()) if (id !== at) this.report(`answer ${at} is that of exchange ${id}`);
    const refusals = answers.filter(({ id }) => id === undefined);
    this.refused += refusals.length;
    const answered = this.seen.filter((one) => one.ended > 0 && !one.cut).length;
    if (own.length < answered) this.report(`${own.length} answers for ${answered} answered exchanges`);
    this.#readRefusals(answers, refusals);
  }

  /** Only the last answer may belong to no exchange, and it must say why. */
  #readRefusals(answers: readonly ReadAnswer[], refusals: readonly ReadAnswer[]): void {
    if (refusals.length > 1) this.report(`${refusals.length} refusals`);
    const [refusal] = refusals;
    if (!refusal) return;
    if (refusal !== answers.at(-1)) this.report("an answer behind a refusal");
    if (![400, 408, 414, 431, 501, 502, 505].includes(refusal.status)) this.report(`refused with ${refusal.status}`);
  }

  /** A paused connection gets nothing until it wants more. */
  async #untilUnpaused(): Promise<void> {
    if (!this.#transport.paused) return;
    await this.#settle();
    if (this.#transport.paused && !this.#transport.closed && this.seen.every((one) => one.ended > 0))
      this.report("paused, though nothing is in progress");
    this.#transport.paused = false;
  }

  /** Runs until nothing moves any more. */
  async #settle(): Promise<void> {
    for (let turns = 0, still = 0; still < 3; turns++) {
      if (turns > turnsMax) return this.report("it never comes to rest");
      const before = this.#transport.written.length + this.seen.length;
      this.#transport.breathe(this.#connection);
      await turn();
      const waits = this.seen.some((one) => one.ended === 0 && (one.whole || one.replied));
      still = this.#transport.written.length + this.seen.length === before && !this.#transport.waits ? still + 1 : 0;
      if (still === 1 && !waits && turns > 0) still = 2;
    }
  }

  /** As the pipeline would, in one of many ways. */
  #handle(exchange: Http1Exchange): Reply | Promise<Reply> {
    const { random } = this;
    const one: Seen = {
      exchange,
      start: `${exchange.method} ${exchange.head.rawTarget()}`,
      reads: reads[random(reads.length)]!,
      answers: answers[random(answers.length)]!,
      body: "",
      whole: exchange.body === undefined,
      replied: false,
      faulted: false,
      ended: 0,
      cut: false,
    };
    const id = this.seen.push(one) - 1;
    exchange.id = String(id);
    const wait = waits[random(waits.length)]!;
    if (wait === "none" && (!exchange.body || one.reads === "not")) {
      one.replied = true;
      return replyOf(one, id, random);
    }
    return this.#reply(one, id, wait);
  }

  async #reply(one: Seen, id: number, wait: (typeof waits)[number]): Promise<Reply> {
    if (wait === "a microtask") await Promise.resolve();
    if (wait === "a turn") await turn();
    const failure = await readBody(one, this.random);
    one.replied = true;
    if (failure) return refuse(failure.status, "the body", [["X-Request-Id", String(id)]]);
    return replyOf(one, id, this.random);
  }
}

/** Reads as much as this handler wants. @returns why the body could not be read */
function readBody(one: Seen, random: Random): Promise<Failure | undefined> {
  const { body } = one.exchange;
  if (!body || one.reads === "not") return Promise.resolve(undefined);
  return new Promise((resolve) => {
    body.start({
      write(chunk) {
        one.body += Buffer.from(chunk).toString("latin1");
        if (one.reads === "a part") {
          body.cancel();
          resolve(undefined);
          return false;
        }
        if (one.reads === "whole" || random(2) === 0) return true;
        setImmediate(() => body.resume());
        return false;
      },
      end() {
        one.whole = true;
        resolve(undefined);
      },
      fail: resolve,
    });
  });
}

function replyOf(one: Seen, id: number, random: Random): Reply {
  const name: [string, string] = ["X-Request-Id", String(id)];
  const text = "a text of 20 letters";
  switch (one.answers) {
    case "own":
      return { status: 200, fields: [name], content: text, why: "" };
    case "nothing":
      return { status: 204, fields: [name], content: undefined, why: "" };
    case "fault":
      one.faulted = true;
      throw new Error("a fault of this test");
    default: {
      const bodiless = one.exchange.method === "HEAD";
      const body = bodiless ? undefined : new PushedBody(text, one.answers, random);
      const length = one.answers === "chunked" || bodiless ? [] : [["Content-Length", "20"] as const];
      return { passed: answerOf([name, ...length], body), status: 200, edits: noEdits, fields: [] };
    }
  }
}

function answerOf(fields: readonly (readonly [string, string])[], body: Body | undefined): Answer {
  return {
    status: 200,
    reason: "OK",
    field: (name) => fields.find(([other]) => other.toLowerCase() === name)?.[1],
    eachField: (visit) => fields.forEach(([name, value]) => visit(name, value)),
    body,
  };
}

/** An answer's body in two parts, the second of which may come late or never. */
class PushedBody implements Body {
  readonly length: number;
  #sink: BodySink | undefined;
  #parts: string[];
  #paused = false;
  #over = false;

  constructor(
    text: string,
    readonly kind: "length" | "chunked" | "broken",
    readonly random: Random,
  ) {
    this.length = kind === "chunked" ? -1 : text.length;
    this.#parts = [text.slice(0, 7), text.slice(7)];
  }

  start(sink: BodySink): void {
    this.#sink = sink;
    if (this.random(2) === 0) this.#push();
    else setImmediate(() => this.#push());
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#push();
  }

  cancel(): void {
    this.#over = true;
  }

  #push(): void {
    while (!this.#over && !this.#paused) {
      const part = this.#parts.shift();
      if (part === undefined || (this.kind === "broken" && this.#parts.length === 0)) {
        this.#over = true;
        if (this.kind === "broken") this.#sink!.fail(new Failure("body_cut", "cut by this test"));
        else this.#sink!.end();
        return;
      }
      this.#paused = !this.#sink!.write(Buffer.from(part));
    }
  }
}

/** A socket that takes what it likes. */
class FuzzTransport implements Transport {
  written = "";
  paused = false;
  closed = false;
  /** it owes a `drain` */
  full = false;
  #half = false;
  readonly #slow: boolean;

  constructor(
    readonly random: Random,
    readonly report: (what: string) => void,
  ) {
    this.#slow = random(3) === 0;
  }

  write(data: Uint8Array, offset = 0, length = data.length - offset): number {
    if (this.closed) return -1;
    if (this.#half) this.report("a write behind its own FIN");
    const taken = this.full ? 0 : this.#slow && this.random(3) === 0 ? this.random(length + 1) : length;
    this.full ||= taken < length;
    this.written += Buffer.from(data.subarray(offset, offset + taken)).toString("latin1");
    return taken;
  }

  get waits(): boolean {
    return this.full && !this.closed;
  }

  /** It takes more again. */
  breathe(connection: Http1Connection): void {
    for (let i = 0; this.full && !this.closed && i < 100; i++) {
      this.full = false;
      connection.drain();
    }
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    if (this.full) this.report("closed while bytes still wait");
    this.closed = true;
  }

  shutdown(): void {
    this.#half = true;
  }

  terminate(): void {
    this.closed = true;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
