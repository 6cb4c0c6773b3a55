/**
 * Key set: a JWKS URL and the keys it held last (RFC 7517). Fetched when it is asked for and too old, never more than
 * once at a time; what cannot be fetched leaves the last good set in use (contract, section 14).
 */
import { boundedText } from "../../../lib/bounded-text.ts";
import { describe } from "../../../lib/cause.ts";
import {
  keySetAgainMs,
  keySetBytesMax,
  keySetKeysMax,
  keySetMs,
  keySetRetryMs,
  keySetWaitMs,
} from "../../../lib/limits.ts";
import { readJwk, type PublicKey } from "./public-keys.ts";

/** Where the keys come from, and the clock; tests replace the clock. */
export interface KeySetOptions {
  nowMs?(): number;
  /** is told about each failed fetch */
  warn(text: string): void;
}

export class KeySet {
  /** counts the sets: whoever kept a verdict of an older one must ask again */
  version = 0;
  #keys: readonly PublicKey[] = [];
  /** of the last good fetch */
  #fetchedMs = -Infinity;
  #triedMs = -Infinity;
  #fetching: Promise<void> | undefined;
  /** why the last fetch failed; "" = it did not */
  #trouble = "";

  constructor(
    readonly url: string,
    readonly options: KeySetOptions,
  ) {}

  /** Whether a verdict of this set may still be believed without asking. */
  get fresh(): boolean {
    return this.#nowMs() - this.#fetchedMs < keySetMs;
  }

  /**
   * The keys that a token may have been signed with, after a fetch where one is due.
   * @param kid of the token's head: found by equality only, never used as a name of anything else
   * @throws Error when there are no keys at all
   */
  async keysFor(kid: string | undefined, algorithm: string): Promise<readonly PublicKey[]> {
    if (!this.fresh && this.#mayTry()) await this.#refresh();
    if (this.#keys.length === 0) throw new Error(`no keys from ${this.url}: ${this.#trouble || "the set is empty"}`);
    let fitting = this.#fitting(kid, algorithm);
    if (fitting.length === 0 && this.#mayTry()) {
      await this.#refresh();
      fitting = this.#fitting(kid, algorithm);
    }
    return fitting;
  }

  #fitting(kid: string | undefined, algorithm: string): PublicKey[] {
    return this.#keys.filter((key) => key.algorithms.has(algorithm) && (kid === undefined || key.kid === kid));
  }

  #mayTry(): boolean {
    const waitMs = this.#keys.length === 0 ? keySetRetryMs : keySetAgainMs;
    return this.#fetching !== undefined || this.#nowMs() - this.#triedMs >= waitMs;
  }

  /** One fetch for all who wait. */
  #refresh(): Promise<void> {
    return (this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined)));
  }

  async #fetch(): Promise<void> {
    this.#triedMs = this.#nowMs();
    try {
      const keys = await fetchKeys(this.url);
      if (keys.length === 0) throw new Error("it holds no key that verifies signatures");
      this.#keys = keys;
      this.#fetchedMs = this.#nowMs();
      this.#trouble = "";
      this.version++;
    } catch (error) {
      this.#trouble = describe(error);
      const stay = this.#keys.length > 0 ? "the keys fetched before stay in use" : "tokens cannot be verified";
      this.options.warn(`the key set ${this.url} could not be fetched: ${this.#trouble}; ${stay}`);
    }
  }

  #nowMs(): number {
    return this.options.nowMs?.() ?? performance.now();
  }
}

async function fetchKeys(url: string): Promise<PublicKey[]> {
  const response = await fetch(url, {
    headers: { Accept: "application/jwk-set+json, application/json" },
    redirect: "manual",
    proxy: "",
    signal: AbortSignal.timeout(keySetWaitMs),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`expected status 200, found ${response.status}`);
  }
  const { keys } = JSON.parse(await boundedText(response, keySetBytesMax, "it")) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error("expected a JSON map with a list `keys`");
  return keys.slice(0, keySetKeysMax).flatMap((jwk) => readJwk(jwk) ?? []);
}
