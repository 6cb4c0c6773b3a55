/**
 * Password checks: the slow comparison with a hash runs in Bun's threads, a few at once, and its verdict is kept, so
 * that a signed-in client costs a keyed digest. What is kept names neither the password nor the hash.
 */
import { BoundedMap } from "../../../lib/bounded-map.ts";
import { Gate } from "../../../lib/gate.ts";
import {
  passwordChecksInFlightMax,
  passwordChecksPerClientMax,
  passwordChecksWaitingMax,
  passwordVerdictsMax,
} from "../../../lib/limits.ts";
import { clientName } from "../limits/client-key.ts";

export class PasswordChecks {
  readonly #key = crypto.getRandomValues(new Uint8Array(32));
  // Apart: whoever tries out passwords must not drive out those who know theirs.
  readonly #right = new BoundedMap<string, true>(passwordVerdictsMax);
  readonly #wrong = new BoundedMap<string, true>(passwordVerdictsMax);
  readonly #running = new Map<string, Promise<boolean>>();
  readonly #gate = new Gate(passwordChecksInFlightMax, passwordChecksWaitingMax, passwordChecksPerClientMax);

  /**
   * @param client IP of who asks: each may have only a few checks waiting
   * @returns at once when the verdict is known
   * @throws GateFull (by rejection)
   */
  check(hash: string, password: Uint8Array, client: string): boolean | Promise<boolean> {
    // Verdicts never change: the hash with its salt is part of the key, so that a changed password has another one.
    const key = new Bun.CryptoHasher("sha256", this.#key).update(hash).update("\0").update(password).digest("base64");
    if (this.#right.get(key)) return true;
    if (this.#wrong.get(key)) return false;
    return this.#running.get(key) ?? this.#start(key, hash, password, client);
  }

  #start(key: string, hash: string, password: Uint8Array, client: string): Promise<boolean> {
    const run = this.#gate
      .run(clientName(client), () => Bun.password.verify(password, hash))
      .then((right) => {
        (right ? this.#right : this.#wrong).set(key, true);
        return right;
      })
      .finally(() => this.#running.delete(key));
    this.#running.set(key, run);
    return run;
  }
}
