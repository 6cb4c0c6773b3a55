/**
 * The certificates of the TLS port as plain data, and which of them a name is served. The control plane makes the set,
 * a listener looks names up in it.
 */

export type KeyKind = "ecdsa" | "rsa" | "ed25519";

/** At the time the set was made. */
export type PairState = "valid" | "expired" | "not-yet-valid" | "placeholder";

/** One servable certificate with its key. */
export interface CertificatePair {
  /** hash of what is served, chain and key: equal ids are equal bytes */
  readonly id: string;
  /** NAME of NAME.crt and NAME.key; `placeholder` for the self-signed one */
  readonly name: string;
  /** absolute name of the .crt file; "" for the placeholder */
  readonly file: string;
  /** lower-case host names, `*.x` wildcards, addresses in canonical text; may be empty, then it can only be a default */
  readonly names: readonly string[];
  readonly kind: KeyKind;
  /** PEM, leaf first */
  readonly certPem: string;
  /** PKCS#8 PEM; never to be logged */
  readonly keyPem: string;
  /** milliseconds since 1970 */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly state: PairState;
}

export interface CertificateSet {
  /** changes exactly when something that is served may have changed */
  readonly version: string;
  /** in name order; never empty on a TLS port */
  readonly pairs: readonly CertificatePair[];
  /** index into `pairs`: what unknown and missing names get */
  readonly defaultIndex: number;
}

/** What one name is served: pairs of different kinds, for one TLS context. */
export interface Served {
  /** ids of the pairs, joined by "+": stable over sets, so contexts can be kept by it */
  readonly id: string;
  /** ecdsa first: of two that a client can use the first is the cheaper */
  readonly pairs: readonly CertificatePair[];
}

/** Looks names up in one set. Immutable; made anew for every set. */
export class CertificateIndex {
  readonly default: Served;
  /** names and `*.x` wildcards → what they are served */
  readonly #byName = new Map<string, Served>();
  readonly #interned = new Map<string, Served>();

  constructor(readonly set: CertificateSet) {
    const covering = new Map<string, CertificatePair[]>();
    for (const pair of set.pairs) {
      for (const name of pair.names) {
        const pairs = covering.get(name);
        if (pairs) pairs.push(pair);
        else covering.set(name, [pair]);
      }
    }
    for (const [name, pairs] of covering) this.#byName.set(name, this.#intern(best(pairs)));
    const first = set.pairs[set.defaultIndex];
    if (!first) throw new RangeError(`Cannot index certificates: there is no pair ${set.defaultIndex}`);
    this.default = this.#intern([first, ...companions(first, set.pairs)]);
  }

  /**
   * Exact names come before wildcards, which cover one label; but no name is served an expired pair while a valid one
   * covers it.
   * @param name as a client sent it: any case, perhaps with a final dot
   */
  find(name: string): Served | undefined {
    const key = normal(name);
    const exact = this.#byName.get(key);
    if (exact && isUsable(exact.pairs[0]!)) return exact;
    const dot = key.indexOf(".");
    const wildcard = dot > 0 ? this.#byName.get(`*${key.slice(dot)}`) : undefined;
    if (!exact || (wildcard && isUsable(wildcard.pairs[0]!))) return wildcard ?? exact;
    return exact;
  }

  /** What {@link find} finds, or the default. */
  serve(name: string | null | undefined): Served {
    return (name ? this.find(name) : undefined) ?? this.default;
  }

  /** Every host name and wildcard of the set once, for listeners that want a list; addresses are never sent as names. */
  *entries(): Iterable<readonly [serverName: string, served: Served]> {
    for (const [name, served] of this.#byName) {
      if (isAddress(name)) continue;
      yield [name, name.startsWith("*.") ? served : (this.find(name) ?? served)];
    }
  }

  #intern(pairs: readonly CertificatePair[]): Served {
    const sorted = pairs.toSorted((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
    const id = sorted.map((pair) => pair.id).join("+");
    const known = this.#interned.get(id);
    if (known) return known;
    const served = { id, pairs: sorted };
    this.#interned.set(id, served);
    return served;
  }
}

const kinds: readonly KeyKind[] = ["ecdsa", "rsa", "ed25519"];

/** The first of each kind; expired ones only where nothing else is there. */
function best(pairs: readonly CertificatePair[]): CertificatePair[] {
  const usable = pairs.filter(isUsable);
  const chosen = new Map<KeyKind, CertificatePair>();
  for (const pair of usable.length > 0 ? usable : pairs) if (!chosen.has(pair.kind)) chosen.set(pair.kind, pair);
  return [...chosen.values()];
}

/** Pairs of other kinds that can stand for `pair` wherever it is shown: same validity, all of its names. */
function companions(pair: CertificatePair, pairs: readonly CertificatePair[]): CertificatePair[] {
  const chosen = new Map<KeyKind, CertificatePair>();
  if (pair.names.length === 0) return [];
  for (const other of pairs) {
    if (other.kind === pair.kind || chosen.has(other.kind) || isUsable(other) !== isUsable(pair)) continue;
    if (pair.names.every((name) => other.names.includes(name))) chosen.set(other.kind, other);
  }
  return [...chosen.values()];
}

function isUsable({ state }: CertificatePair): boolean {
  return state === "valid" || state === "placeholder";
}

function normal(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

function isAddress(name: string): boolean {
  return name.includes(":") || /^[0-9.]+$/.test(name);
}
