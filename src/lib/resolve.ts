/** Names to IP addresses: looked up for each connection through a short cache that survives a failing name server. */
import { promises as dns } from "node:dns";
import { isIP } from "node:net";
import { BoundedMap } from "./bounded-map.ts";
import { nameCacheEntriesMax, nameCacheMs, nameFailureCacheMs, nameStaleMs, nameStaleWaitMs } from "./limits.ts";

interface Entry {
  /** the last good answer; empty = there was none */
  addresses: string[];
  /** when that answer came */
  goodMs: number;
  /** what is known counts until then, good or bad */
  freshUntilMs: number;
  failure: Error | undefined;
  pending: Promise<void> | undefined;
}

/** @returns all addresses of a name, in the name server's order. */
export type Lookup = (host: string) => Promise<string[]>;

export class Resolver {
  readonly #entries = new BoundedMap<string, Entry>(nameCacheEntriesMax);
  readonly #lookup: Lookup;
  readonly #now: () => number;

  /** @param options for tests: another look-up, another clock (ms) */
  constructor(options: { lookup?: Lookup; now?: () => number } = {}) {
    this.#lookup = options.lookup ?? systemLookup;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * All addresses of a host, at least one. IP literals and `localhost` (RFC 6761) are answered without asking. When a
   * name cannot be looked up any more, its last good addresses stay for ten minutes.
   * @throws the look-up's error; `describe` makes "name not found" of it
   */
  async resolve(host: string): Promise<string[]> {
    if (isIP(host) !== 0) return [host];
    const name = host.toLowerCase();
    if (isLocalhost(name)) return ["127.0.0.1", "::1"];
    let entry = this.#entries.get(name);
    if (!entry) {
      entry = { addresses: [], goodMs: -Infinity, freshUntilMs: -Infinity, failure: undefined, pending: undefined };
      this.#entries.set(name, entry);
    }
    if (this.#now() >= entry.freshUntilMs) {
      const refreshed = (entry.pending ??= this.#refresh(name, entry));
      if (this.#usable(entry)) {
        // A name server that hangs must not hold up connections whose addresses are known: one waits, the next need not.
        await firstOf(refreshed, nameStaleWaitMs);
        entry.freshUntilMs = Math.max(entry.freshUntilMs, this.#now() + nameFailureCacheMs);
      } else {
        await refreshed;
      }
    }
    if (this.#usable(entry)) return entry.addresses;
    throw entry.failure ?? new Error("name not found");
  }

  #usable(entry: Entry): boolean {
    return entry.addresses.length > 0 && this.#now() - entry.goodMs < nameStaleMs;
  }

  async #refresh(name: string, entry: Entry): Promise<void> {
    try {
      const addresses = await this.#lookup(name);
      if (addresses.length === 0) throw Object.assign(new Error(`"${name}" has no address`), { code: "ENODATA" });
      entry.addresses = addresses;
      entry.goodMs = this.#now();
      entry.freshUntilMs = entry.goodMs + nameCacheMs;
      entry.failure = undefined;
    } catch (error) {
      entry.failure = error instanceof Error ? error : new Error(String(error));
      entry.freshUntilMs = this.#now() + nameFailureCacheMs;
    } finally {
      entry.pending = undefined;
    }
  }
}

/** The cache shared by everything in this process that connects by name. */
export const names = new Resolver();

async function systemLookup(host: string): Promise<string[]> {
  const found = await dns.lookup(host, { all: true, verbatim: true });
  return [...new Set(found.map(({ address }) => address))];
}

function isLocalhost(name: string): boolean {
  const bare = name.endsWith(".") ? name.slice(0, -1) : name;
  return bare === "localhost" || bare.endsWith(".localhost");
}

async function firstOf(work: Promise<void>, waitMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, waitMs);
  try {
    await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
