/**
 * Token verifier: whether a JWT (RFC 7519, RFC 8725) is good under one rule. Which algorithms may be used follows from
 * the rule's keys, never from the token: a shared secret only ever means HS256, a public key never does.
 */
import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from "jose";
import type { KeyObject } from "node:crypto";
import { tokenKeysTriedMax } from "../../../lib/limits.ts";
import type { KeySet } from "./key-set.ts";
import { readPem, type PublicKey } from "./public-keys.ts";
import type { AuthorizationRule } from "./rules.ts";

export type JwtRule = AuthorizationRule & { type: "jwt" };

/** The token is not good; the message says why, without any part of it. */
export class BadToken extends Error {
  /** @param expired the client may get a new one and try again */
  constructor(
    message: string,
    readonly expired = false,
  ) {
    super(message);
  }
}

/** There are no keys to verify it with. */
export class NoKeys extends Error {}

export class TokenVerifier {
  readonly #secrets: readonly Uint8Array[];
  readonly #keys: readonly PublicKey[];
  readonly #algorithms: ReadonlySet<string>;
  readonly #options: JWTVerifyOptions;

  /**
   * @param masterKey tokens of `POST /jwt` are signed with it
   * @param keySet of the rule's `jwks`
   * @throws Error when a public key cannot be read, or no key fits the rule's algorithms
   */
  constructor(
    readonly rule: JwtRule,
    masterKey: string | undefined,
    readonly keySet: KeySet | undefined,
  ) {
    const shared = rule.public_key === undefined && rule.jwks === undefined;
    const secrets = shared ? [rule.data, masterKey].filter((secret) => secret !== undefined) : [];
    this.#secrets = secrets.map((secret) => new TextEncoder().encode(secret));
    this.#keys = (rule.public_key ?? []).flatMap(readPem);
    const possible = possibleAlgorithms(shared, this.#keys, keySet !== undefined);
    const wanted: ReadonlySet<string> = new Set(
      (rule.algorithms ?? []).flatMap((name) => (name === "EdDSA" ? [name, "Ed25519"] : [name])),
    );
    this.#algorithms = wanted.size === 0 ? possible : possible.intersection(wanted);
    if (this.#algorithms.size === 0) throw new Error("none of its keys fits one of its `algorithms`");
    this.#options = {
      requiredClaims: ["exp"],
      clockTolerance: rule.leeway ?? 0,
      ...(rule.issuer && { issuer: rule.issuer }),
      ...(rule.audience && { audience: rule.audience }),
    };
  }

  /**
   * @throws BadToken
   * @throws NoKeys
   */
  async verify(token: string): Promise<JWTPayload> {
    const { alg, kid } = headOf(token);
    if (!this.#algorithms.has(alg)) throw new BadToken("its algorithm is not accepted here");
    const keys = alg === "HS256" ? this.#secrets : await this.#publicKeys(kid, alg);
    for (const key of keys.slice(0, tokenKeysTriedMax)) {
      const payload = await this.#tryKey(token, key, alg);
      if (!payload) continue;
      this.#checkClaims(payload);
      return payload;
    }
    throw new BadToken(keys.length === 0 ? "no key is known that it could be signed with" : "its signature is wrong");
  }

  async #publicKeys(kid: string | undefined, alg: string): Promise<readonly KeyObject[]> {
    const own = this.#keys.filter((key) => key.algorithms.has(alg));
    const fetched = this.keySet ? await this.keySet.keysFor(kid, alg).catch(noKeys) : [];
    return [...own, ...fetched].map(({ key }) => key);
  }

  /** @returns undefined when another key may have signed it */
  async #tryKey(token: string, key: KeyObject | Uint8Array, alg: string): Promise<JWTPayload | undefined> {
    try {
      return (await jwtVerify(token, key, { ...this.#options, algorithms: [alg] })).payload;
    } catch (error) {
      if (error instanceof errors.JWSSignatureVerificationFailed) return undefined;
      throw badToken(error);
    }
  }

  #checkClaims(payload: JWTPayload): void {
    for (const [name, wanted] of Object.entries(this.rule.claims ?? {})) {
      const claim = Object.hasOwn(payload, name) ? payload[name] : undefined;
      const fits =
        Bun.deepEquals(claim, wanted, true) ||
        (Array.isArray(claim) && claim.some((one) => Bun.deepEquals(one, wanted, true)));
      if (!fits) throw new BadToken(`its claim \`${name}\` is not what this route wants`);
    }
  }
}

function noKeys(error: unknown): never {
  throw new NoKeys((error as Error).message);
}

/** What the keys of a rule could verify. */
function possibleAlgorithms(shared: boolean, keys: readonly PublicKey[], fetched: boolean): ReadonlySet<string> {
  if (shared) return new Set(["HS256"]);
  if (fetched) return everyPublic;
  return new Set(keys.flatMap((key) => [...key.algorithms]));
}

const everyPublic: ReadonlySet<string> = new Set(
  "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split(" "),
);

/** The two members of a token's head that count; `jwk`, `jku`, `x5c` and `x5u` would be the token's own word for its key. */
function headOf(token: string): { alg: string; kid: string | undefined } {
  let head: { alg?: unknown; kid?: unknown };
  try {
    head = decodeProtectedHeader(token);
  } catch {
    throw new BadToken("it is not well formed");
  }
  if (typeof head.alg !== "string") throw new BadToken("it is not well formed");
  if (head.kid !== undefined && typeof head.kid !== "string") throw new BadToken("it is not well formed");
  return { alg: head.alg, kid: head.kid };
}

function badToken(error: unknown): BadToken {
  if (error instanceof errors.JWTExpired) return new BadToken("it has expired", true);
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === "missing") return new BadToken(`its claim \`${error.claim}\` is missing`);
    if (error.claim === "nbf") return new BadToken("it is not valid yet");
    return new BadToken(`its claim \`${error.claim}\` is not what this route wants`);
  }
  if (error instanceof errors.JOSEError) return new BadToken("it is not well formed");
  throw error;
}
