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
  /** what usable pairs of files cover, once all of them are known */
  let files: ReadonlySet<string> | undefined;
  for (const { place, pair } of views) {
    if (!pair) continue;
    const { issuer: _issuer, chainLength: _length, warnings: _warnings, ...plain } = pair;
    if (place.given !== undefined) files ??= namesOfFiles([...byName.values()]);
    const names = files ? namesOfGiven(pair.names, place.hosts, files) : pair.names;
    const candidate = { ...plain, names, name: place.name, file: place.crt, state: stateOf(pair, nowMs) };
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

/**
 * Whoever may create an Ingress brings certificates: for its own hosts only, and for none that a usable pair of files
 * covers, by a wildcard too.
 */
function namesOfGiven(
  names: readonly string[],
  hosts: readonly string[] | undefined,
  files: ReadonlySet<string>,
): readonly string[] {
  const known = new Set(names);
  const own = hosts === undefined ? names : hosts.filter((host) => covers(known, host));
  return own.filter((name) => !covers(files, name));
}

function namesOfFiles(pairs: readonly CertificatePair[]): ReadonlySet<string> {
  return new Set(pairs.flatMap(({ names, state }) => (state === "valid" ? names : [])));
}

function covers(names: ReadonlySet<string>, name: string): boolean {
  return names.has(name) || (!name.startsWith("*.") && names.has(`*${name.slice(name.indexOf("."))}`));
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
  for (const { name, id, state, file, names } of pairs)
    hasher.update(`${name}\0${file}\0${id}\0${state}\0${names.join(" ")}\n`);
  return { version: hasher.digest("hex").slice(0, 12), pairs, defaultIndex };
}
