/**
 * Ledger: what changes by itself and outlives tables: endpoints by address, health by (address, probe), and the turn
 * counters of round robin. Swept after each table swap, not reference-counted.
 */
import { showAddress, type DialAddress } from "../../lib/address.ts";
import { Endpoint, Health, type Ejection, type Probe, type Wire } from "./endpoint.ts";
import type { Turn } from "./pool.ts";

/** An answer to a health question, sent from control to the data plane. Plain data. */
export interface Fact {
  readonly key: string;
  readonly up: boolean;
  readonly cause: string;
}

export class Ledger {
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #health = new Map<string, Health>();
  readonly #turns = new Map<string, Turn>();

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
    if (!turn) this.#turns.set(key, (turn = { next: 0, requests: 0 }));
    return turn;
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
    for (const key of this.#turns.keys()) if (!turnKeys.has(key)) this.#turns.delete(key);
  }
}

/** Two members share their health only if everything about the question is the same. */
export function healthKey(address: DialAddress, probe: Probe | undefined, ejection: Ejection): string {
  return `${showAddress(address)} ${JSON.stringify([probe ?? null, ejection])}`;
}
