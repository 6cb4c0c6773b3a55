/** Public keys that tokens are verified with, and the algorithms that each kind of key allows (RFC 7518, RFC 8037). */
import { createPublicKey, type KeyObject } from "node:crypto";

type PublicKeyInput = Parameters<typeof createPublicKey>[0];

export interface PublicKey {
  /** its name in a key set */
  readonly kid: string | undefined;
  readonly key: KeyObject;
  /** values of a token's `alg` it may be used for */
  readonly algorithms: ReadonlySet<string>;
}

/** RFC 7518 3.3: shorter RSA keys are not for signatures. */
const rsaBitsMin = 2048;
const rsaAlgorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const curveAlgorithms: Readonly<Record<string, string>> = {
  prime256v1: "ES256",
  secp384r1: "ES384",
  secp521r1: "ES512",
};

/**
 * Reads public keys and certificates in PEM; several may follow one another.
 * @throws Error that says what is wrong with them
 */
export function readPem(text: string): PublicKey[] {
  const blocks = text.match(/-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g) ?? [];
  if (blocks.length === 0) throw new Error("there is no public key in PEM in it");
  return blocks.map((block) => {
    if (/^-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(block))
      throw new Error("this is a private key: give the public one, and keep this where tokens are made");
    let key: KeyObject;
    try {
      key = createPublicKey(block);
    } catch {
      throw new Error("not a public key or certificate of a kind that is known: RSA, EC P-256/384/521 or Ed25519");
    }
    return { kid: undefined, key, algorithms: algorithmsOf(key) };
  });
}

/**
 * Reads one key of a key set (RFC 7517).
 * @returns undefined for what cannot verify signatures here: symmetric keys, encryption keys, unknown kinds
 */
export function readJwk(jwk: unknown): PublicKey | undefined {
  if (typeof jwk !== "object" || jwk === null) return undefined;
  const { kid, use, alg, key_ops, kty } = jwk as Record<string, unknown>;
  if (kty !== "RSA" && kty !== "EC" && kty !== "OKP") return undefined;
  if (use !== undefined && use !== "sig") return undefined;
  if (Array.isArray(key_ops) && !key_ops.includes("verify")) return undefined;
  try {
    const { n, e, crv, x, y } = jwk as Record<string, unknown>;
    const key = createPublicKey({ key: { kty, n, e, crv, x, y }, format: "jwk" } as PublicKeyInput);
    const algorithms = algorithmsOf(key);
    const only = typeof alg === "string" ? new Set([alg].filter((one) => algorithms.has(one))) : algorithms;
    return { kid: typeof kid === "string" ? kid : undefined, key, algorithms: only };
  } catch {
    return undefined;
  }
}

/** @throws Error for kinds that no algorithm of ours uses */
function algorithmsOf(key: KeyObject): ReadonlySet<string> {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === "rsa") {
    const bits = details?.modulusLength ?? 0;
    if (bits < rsaBitsMin) throw new Error(`an RSA key needs at least ${rsaBitsMin} bits, this one has ${bits}`);
    return new Set(rsaAlgorithms);
  }
  if (type === "ed25519") return new Set(["EdDSA", "Ed25519"]);
  const algorithm = type === "ec" ? curveAlgorithms[details?.namedCurve ?? ""] : undefined;
  if (algorithm === undefined) throw new Error(`a key of the kind ${details?.namedCurve ?? type} is not supported`);
  return new Set([algorithm]);
}
