/** Tokens for tests: made by hand, so that they may be as wrong as an attacker wants them. */
import { createHmac, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

export const farExp = 4_000_000_000;

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  /** the public key in PEM */
  readonly pem: string;
}

export function rsaPair(bits = 2048): KeyPair {
  const pair = generateKeyPairSync("rsa", { modulusLength: bits });
  return { ...pair, pem: pair.publicKey.export({ type: "spki", format: "pem" }) as string };
}

export function ecPair(namedCurve = "P-256"): KeyPair {
  const pair = generateKeyPairSync("ec", { namedCurve });
  return { ...pair, pem: pair.publicKey.export({ type: "spki", format: "pem" }) as string };
}

export function edPair(): KeyPair {
  const pair = generateKeyPairSync("ed25519");
  return { ...pair, pem: pair.publicKey.export({ type: "spki", format: "pem" }) as string };
}

/** @param part JSON, or text to be taken as it is */
export function encode(part: unknown): string {
  return Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url");
}

/** HS256, HS384 or HS512. @param head beside `alg` */
export function hmacToken(secret: string | Buffer, claims: unknown = { exp: farExp }, head: object = {}): string {
  const { alg = "HS256" } = head as { alg?: string };
  const body = `${encode({ alg, typ: "JWT", ...head })}.${encode(claims)}`;
  const hash = `sha${/\d+$/.exec(alg)?.[0] ?? 256}`;
  return `${body}.${createHmac(hash, secret).update(body).digest("base64url")}`;
}

/** RS256, ES256, ES384 or EdDSA, by the kind of the key. */
export function signedToken(key: KeyObject, claims: unknown = { exp: farExp }, head: object = {}): string {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const kinds: Record<string, [alg: string, hash: string | null]> = {
    rsa: ["RS256", "sha256"],
    ed25519: ["EdDSA", null],
    ec: curve === "secp384r1" ? ["ES384", "sha384"] : ["ES256", "sha256"],
  };
  const [alg, hash] = kinds[key.asymmetricKeyType!]!;
  const body = `${encode({ alg, typ: "JWT", ...head })}.${encode(claims)}`;
  const signature = sign(hash, Buffer.from(body), { key, dsaEncoding: "ieee-p1363" });
  return `${body}.${signature.toString("base64url")}`;
}

/** One key of a JWKS. */
export function jwkOf({ publicKey }: KeyPair, more: object): object {
  return { ...publicKey.export({ format: "jwk" }), ...more };
}
