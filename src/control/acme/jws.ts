/** Signed requests of ACME (RFC 8555 6.2, 7.3.4): JSON Web Signatures over ES256, by jose. */
import {
  calculateJwkThumbprint,
  exportPKCS8,
  FlattenedSign,
  generateKeyPair,
  importPKCS8,
  type CryptoKey,
  type JWK,
} from "jose";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { AcmeError } from "./acme-error.ts";

const algorithm = "ES256";

/** The key of an account; never to be logged. */
export interface AccountKey {
  readonly key: CryptoKey;
  /** the public half */
  readonly jwk: JWK;
  /** RFC 7638, base64url: what key authorizations end with */
  readonly thumbprint: string;
}

/** @returns PKCS#8 PEM */
export async function newAccountKey(): Promise<string> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  return exportPKCS8(privateKey);
}

/** @throws Error when it is no key on P-256 */
export async function readAccountKey(pem: string): Promise<AccountKey> {
  const jwk = createPublicKey(createPrivateKey(pem)).export({ format: "jwk" }) as JWK;
  return {
    key: await importPKCS8(pem, algorithm),
    jwk,
    thumbprint: await calculateJwkThumbprint(jwk),
  };
}

/** What a request is signed with: the account, or before there is one its public key. */
export type Identity = { readonly kid: string } | { readonly jwk: JWK };

/** @param payload undefined for POST-as-GET (RFC 8555 6.3). @returns the body of the request */
export async function sign(
  { key }: AccountKey,
  identity: Identity,
  header: { readonly nonce: string; readonly url: string },
  payload: unknown,
): Promise<string> {
  const text = payload === undefined ? "" : JSON.stringify(payload);
  const signed = await new FlattenedSign(new TextEncoder().encode(text))
    .setProtectedHeader({ alg: algorithm, ...identity, ...header })
    .sign(key);
  return JSON.stringify(signed);
}

/** @param hmacKey base64url, as authorities hand it out. @throws AcmeError when it is not */
export async function bindExternally(jwk: JWK, url: string, keyId: string, hmacKey: string): Promise<unknown> {
  const bytes = Buffer.from(hmacKey, "base64url");
  if (bytes.length < 16 || !/^[A-Za-z0-9_+/-]+=*$/.test(hmacKey))
    throw new AcmeError(
      "acme: `eab: {hmac_key}` is not what an authority hands out: expected base64url of 16 bytes or more",
    );
  return new FlattenedSign(new TextEncoder().encode(JSON.stringify(jwk)))
    .setProtectedHeader({ alg: "HS256", kid: keyId, url })
    .sign(bytes);
}
