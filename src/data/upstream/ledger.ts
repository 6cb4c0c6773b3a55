/**
 * Ledger: what changes by itself and outlives tables: endpoints by address, health by (address, probe), and the turn
 * counters of round robin. Swept after each table swap, not reference-counted.
 */
import { showAddress, type DialAddress } from "../../lib/address.ts";
import { Endpoint, Health, type Ejection, type Probe, type Wire } from "./endpoint.ts";
import { LocalTurn, type Turn } from "./turn.ts";
import type { SharedTurns } from "./shared-turns.ts";

/** An answer to a health question, sent from control to the data plane. Plain data. */
export interface Fact {
  readonly key: string;
  readonly up: boolean;
  readonly cause: string;
}

/** What passive ejection has decided about a member. Plain data. */
export interface Aside {
  /** from {@link healthKey} */
  readonly key: string;
  /** how much longer; 0 = it answers again */
  readonly leftMs: number;
  readonly cause: string;
}

export class Ledger {
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #health = new Map<string, Health>();
  readonly #turns = new Map<string, Turn>();
  readonly #sharedTurns: SharedTurns | undefined;

  /** @param sharedTurns of all workers; this process goes round by itself if absent */
  constructor(sharedTurns?: SharedTurns) {
    this.#sharedTurns = sharedTurns;
  }

  endpoint(address: DialAddress): Endpoint {
    const name = showAddress(address);
    let endpoint = this.#endpoints.get(name);
    if (!endpoint) this.#endpoints.set(name, (endpoint = new Endpoint(address)));
    return endpoint;
  }

  findEndpoint(name: string): Endpoint | undefined {
    return this.#endpoints.get(name);
  }

  /** @param key from {@link healthKey} */
  health(key: string, endpoint: Endpoint, probe: Probe | undefined, ejection: Ejection): Health {
    let health = this.#health.get(key);
    if (!health) this.#health.set(key, (health = new Health(endpoint, probe, ejection)));
    return health;
  }

  /** The counters of one route. @param key host + path */
  turn(key: string): Turn {
    let turn = this.#turns.get(key);
    if (!turn) this.#turns.set(key, (turn = this.#sharedTurns?.turn(key) ?? new LocalTurn()));
    return turn;
  }

  findTurn(key: string): Turn | undefined {
    return this.#turns.get(key);
  }

  endpoints(): Iterable<Endpoint> {
    return this.#endpoints.values();
  }

  /** Takes over what another process found out by its own requests: a member is put aside, or answers again. */
  putAside({ key, leftMs, cause }: Aside, nowMs: number): void {
    const health = this.#health.get(key);
    if (!health) return;
    if (leftMs <= 0) return health.succeeded();
    health.asideUntilMs = nowMs + leftMs;
    health.cause = cause;
  }

  /** Members that are aside now. */
  asides(nowMs: number): Aside[] {
    return [...this.#health].flatMap(([key, { asideUntilMs, cause }]) =>
      asideUntilMs > nowMs ? [{ key, leftMs: asideUntilMs - nowMs, cause }] : [],
    );
  }

  /** @returns true when the verdict changed the state */
  apply(fact: Fact, nowMs: number): boolean {
    const health = this.#health.get(fact.key);
    if (!health) return false;
    const before = health.state;
    health.state = fact.up ? "up" : "down";
    health.cause = fact.cause;
    if (fact.up) {
      health.succeeded();
      health.endpoint.heardMs = nowMs;
    }
    return before !== health.state;
  }

  detected(name: string, wire: Wire): void {
    const endpoint = this.#endpoints.get(name);
    if (endpoint) endpoint.wire = wire;
  }

  /** Forgets everything that the given keys do not name. */
  sweep(healthKeys: ReadonlySet<string>, turnKeys: ReadonlySet<string>): void {
    const inUse = new Set<string>();
    for (const [key, health] of this.#health) {
      if (healthKeys.has(key)) inUse.add(health.endpoint.name);
      else this.#health.delete(key);
    }
    for (const name of this.#endpoints.keys()) if (!inUse.has(name)) this.#endpoints.delete(name);
    for (const key of this.#turns.keys()) {
      if (turnKeys.has(key)) continue;
      this.#turns.delete(key);
      this.#sharedTurns?.forget(key);
    }
  }
}

/** Two members share their health only if everything about the question is the same. */
export function healthKey(address: DialAddress, probe: Probe | undefined, ejection: Ejection): string {
  return `${showAddress(address)} ${JSON.stringify([probe ?? null, ejection])}`;
}
