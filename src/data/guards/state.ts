/** What guards remember beyond one table: counts of clients, verdicts on passwords, key sets. A reload keeps them. */
import { showAddress, type DialAddress } from "../../lib/address.ts";
import { limitWindowMs } from "../../lib/limits.ts";
import { WeakCache } from "../../lib/weak-cache.ts";
import { Endpoint } from "../upstream/endpoint.ts";
import { KeySet } from "./authorization/key-set.ts";
import { PasswordChecks } from "./authorization/password-checks.ts";
import { InFlightMap, type InFlight } from "./limits/in-flight.ts";
import { WindowTable, type Windows } from "./limits/windows.ts";

/** Where clients are counted. */
export interface Counts {
  readonly windows: Windows;
  readonly inFlight: InFlight;
}

export class GuardState {
  readonly windows: Windows;
  readonly inFlight: InFlight;
  readonly passwords = new PasswordChecks();
  readonly #keySets = new WeakCache<KeySet>();
  readonly #endpoints = new WeakCache<Endpoint>();

  /** @param counts of all workers; this process counts for itself if absent */
  constructor(counts?: Counts) {
    this.windows = counts?.windows ?? new WindowTable(limitWindowMs);
    this.inFlight = counts?.inFlight ?? new InFlightMap();
  }

  /** The key set of a URL, for as long as some route uses it. */
  keySet(url: string, warn: (text: string) => void): KeySet {
    return this.#keySets.get(url, () => new KeySet(url, { warn }));
  }

  /** A forward service, for as long as some route asks it; apart from upstreams, whose health is watched. */
  endpoint(address: DialAddress): Endpoint {
    return this.#endpoints.get(showAddress(address), () => new Endpoint(address));
  }
}
