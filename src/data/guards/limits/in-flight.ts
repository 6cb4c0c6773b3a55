/** In flight: requests of a client that have begun and not ended. */
import type { ClientKey } from "./client-key.ts";
import type { Scope } from "./scope.ts";

/** Where they are counted. Workers may share one. */
export interface InFlight {
  /** @returns false, and counts nothing, when `most` are in flight already */
  enter(scope: Scope, client: ClientKey, most: number): boolean;
  /** Ends what a successful {@link enter} began. */
  leave(scope: Scope, client: ClientKey): void;
}

/** Bounded by the requests that are open: a key without any is forgotten. */
export class InFlightMap implements InFlight {
  readonly #counts = new Map<string, number>();

  /** clients with requests in flight */
  get size(): number {
    return this.#counts.size;
  }

  count(scope: Scope, client: ClientKey): number {
    return this.#counts.size === 0 ? 0 : (this.#counts.get(keyOf(scope, client)) ?? 0);
  }

  enter(scope: Scope, client: ClientKey, most: number): boolean {
    const key = keyOf(scope, client);
    const now = this.#counts.get(key) ?? 0;
    if (now >= most) return false;
    this.#counts.set(key, now + 1);
    return true;
  }

  leave(scope: Scope, client: ClientKey): void {
    const key = keyOf(scope, client);
    const now = this.#counts.get(key) ?? 0;
    if (now > 1) this.#counts.set(key, now - 1);
    else this.#counts.delete(key);
  }
}

function keyOf(scope: Scope, client: ClientKey): string {
  return `${scope.high} ${scope.low} ${client.high} ${client.low}`;
}
