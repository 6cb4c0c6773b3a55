/** What guards remember beyond one table: counts of clients, verdicts on passwords, key sets. A reload keeps them. */
import { showAddress, type DialAddress } from "../../lib/address.ts";
import { limitWindowMs } from "../../lib/limits.ts";
import { WeakCache } from "../../lib/weak-cache.ts";
import { Endpoint } from "../upstream/endpoint.ts";
import { KeySet } from "./authorization/key-set.ts";
import { PasswordChecks } from "./authorization/password-checks.ts";
import { InFlightMap, type InFlight } from "./limits/in-flight.ts";
import { WindowTable, type Windows } from "./limits/windows.ts";

export class GuardState {
  readonly windows: Windows = new WindowTable(limitWindowMs);
  readonly inFlight: InFlight = new InFlightMap();
  readonly passwords = new PasswordChecks();
  readonly #keySets = new WeakCache<KeySet>();
  readonly #endpoints = new WeakCache<Endpoint>();

  /** The key set of a URL, for as long as some route uses it. */
  keySet(url: string, warn: (text: string) => void): KeySet {
    return this.#keySets.get(url, () => new KeySet(url, { warn }));
  }

  /** A forward service, for as long as some route asks it; apart from upstreams, whose health is watched. */
  endpoint(address: DialAddress): Endpoint {
    return this.#endpoints.get(showAddress(address), () => new Endpoint(address));
  }
}
