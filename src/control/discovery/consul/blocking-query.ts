/**
 * BlockingQuery: one question that Consul holds back until there is news, so that a change arrives in one round trip.
 * What was answered last stays while it fails. (Consul's manual: "Blocking Queries", "Implementation Details".)
 */
import { Backoff, pause } from "../../../lib/backoff.ts";
import * as limits from "../../../lib/limits.ts";
import { describe } from "../../../lib/cause.ts";
import type { Standing } from "../standing.ts";
import type { Agent } from "./agent.ts";

export interface BlockingQueryOptions<T> {
  readonly agent: Agent;
  readonly standing: Standing;
  /** names the question in the log */
  readonly label: string;
  /** path, with any query of its own */
  readonly target: string;
  /** from the JSON of an answer. @throws Error when it is not of the expected form */
  parse(json: unknown): T;
  onChange(): void;
  /** known from before: in force until the first answer */
  readonly before?: T | undefined;
}

export class BlockingQuery<T> {
  /** the last good answer */
  value: T | undefined;
  readonly #options: BlockingQueryOptions<T>;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  /** 0 = answer at once */
  #index = 0;
  #fingerprint = "";
  /** answers in a row whose index moved and nothing else: services share indexes on some versions */
  #empty = 0;

  constructor(options: BlockingQueryOptions<T>) {
    this.#options = options;
    this.value = options.before;
    const { retryFirstMs, retryMostMs } = options.agent.timing;
    this.#backoff = new Backoff(retryFirstMs, retryMostMs);
    options.standing.expect(options.label);
    void this.#run(this.#stop.signal);
  }

  stop(): void {
    this.#stop.abort();
    this.#options.standing.forget(this.#options.label);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { standing, label, agent } = this.#options;
    while (!signal.aborted) {
      const server = agent.servers.current;
      const beganMs = performance.now();
      try {
        const waitMs = await this.#ask(server, signal);
        if (signal.aborted) return;
        this.#backoff.reset();
        standing.good(label);
        await pause(beganMs + waitMs - performance.now(), signal);
      } catch (error) {
        if (signal.aborted) return;
        agent.servers.failed(server);
        // Another server counts in its own way, and one that was set back may have lost what this one stood for.
        this.#index = 0;
        standing.bad(label, `${server.origin} ${describe(error)}`);
        await pause(this.#backoff.nextMs(), signal);
      }
    }
  }

  /** @returns how long after the beginning of this question the next one may begin */
  async #ask(server: URL, signal: AbortSignal): Promise<number> {
    const { agent, target, parse } = this.#options;
    const answer = await agent.ask(server, target, this.#index, signal);
    // An agent that has lost its servers may answer from an empty state: that is no word of its own.
    if (answer.field("x-consul-knownleader") === "false") throw new Error("knows no leader");
    const index = readIndex(answer.field("x-consul-index"));
    const moved = index !== this.#index;
    const changed = this.#take(parse(readJson(answer.text)));
    this.#empty = moved && !changed ? this.#empty + 1 : 0;
    // An index that goes backwards is void; the next question is answered at once.
    const held = index > 0 && !(index < this.#index);
    this.#index = held ? index : 0;
    if (index === 0) return agent.timing.pollMs;
    // A server that does not hold back, or whose index moves for others' sake, must not make us spin.
    if (!moved && !changed) return limits.consulSpacingMostMs;
    const spacingMs = limits.consulSpacingMs * 2 ** Math.min(this.#empty, 10);
    return Math.max(Math.min(limits.consulSpacingMostMs, spacingMs), agent.spacingMs);
  }

  #take(value: T): boolean {
    const fingerprint = Bun.hash(JSON.stringify(value)).toString(36);
    if (fingerprint === this.#fingerprint) return false;
    this.#fingerprint = fingerprint;
    this.value = value;
    this.#options.onChange();
    return true;
  }
}

/** @returns 0 when there is none that can be waited on */
function readIndex(text: string): number {
  const index = /^[0-9]{1,16}$/.test(text) ? Number(text) : 0;
  return Number.isSafeInteger(index) ? index : 0;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("answered something that is not JSON");
  }
}
