/** From pairs of files to the set that is served: one pair for a name of files, the default, the placeholder. */
import type { Problem } from "../../config/problem.ts";
import type { CertificatePair, CertificateSet } from "../../data/tls/certificate-set.ts";
import { stateOf, type PairView } from "./book.ts";
import { located } from "./describe.ts";
import { selfSigned } from "./self-signed.ts";

export interface Selection {
  /** undefined when nothing can be served */
  readonly set: CertificateSet | undefined;
  readonly problems: readonly Problem[];
}

/**
 * @param views in name order, the higher rank later
 * @param wanted `default_certificate`: NAME of a pair, with or without .crt
 */
export function makeSet(views: readonly PairView[], wanted: string | undefined, nowMs: number): Selection {
  const byName = new Map<string, CertificatePair>();
  for (const { place, pair } of views) {
    if (!pair) continue;
    const { issuer: _issuer, chainLength: _length, warnings: _warnings, ...plain } = pair;
    const candidate = { ...plain, name: place.name, file: place.crt, state: stateOf(pair, nowMs) };
    const before = byName.get(place.name);
    // The later folder wins, but not with a pair that clients refuse over one that they accept.
    if (!before || candidate.state === "valid" || before.state !== "valid") byName.set(place.name, candidate);
  }
  const pairs = [...byName.values()];
  if (pairs.length === 0) return { set: undefined, problems: [] };
  const found = wanted === undefined ? 0 : pairs.findIndex(({ name }) => name === wanted || `${name}.crt` === wanted);
  const problems: Problem[] = [];
  if (found < 0)
    problems.push({
      ...located(""),
      severity: "warning",
      message: `default_certificate: there is no usable pair "${wanted}": "${pairs[0]!.name}" is the default instead`,
    });
  return { set: versioned(pairs, Math.max(0, found)), problems };
}

/** What a TLS port shows that has no certificate: the placeholder of the set before, or a new one. */
export function withPlaceholder(before: CertificateSet | undefined, nowMs: number): CertificateSet {
  const [first] = before?.pairs ?? [];
  if (before && first?.state === "placeholder") return before;
  const { certPem, keyPem, notBeforeMs, notAfterMs } = selfSigned(["localhost"], nowMs);
  const id = new Bun.CryptoHasher("sha256").update(certPem).digest("hex").slice(0, 24);
  const placeholder: CertificatePair = {
    id,
    name: "placeholder",
    file: "",
    names: [],
    kind: "ecdsa",
    certPem,
    keyPem,
    notBeforeMs,
    notAfterMs,
    state: "placeholder",
  };
  return versioned([placeholder], 0);
}

function versioned(pairs: readonly CertificatePair[], defaultIndex: number): CertificateSet {
  const hasher = new Bun.CryptoHasher("sha256").update(`${defaultIndex}\n`);
  for (const { name, id, state, file } of pairs) hasher.update(`${name}\0${file}\0${id}\0${state}\n`);
  return { version: hasher.digest("hex").slice(0, 12), pairs, defaultIndex };
}
