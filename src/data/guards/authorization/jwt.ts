/** `authorization: {type: jwt}`: a signed token, by Bearer or in the query (RFC 6750). */
import { BoundedMap } from "../../../lib/bounded-map.ts";
import { Gate } from "../../../lib/gate.ts";
import {
  credentialCharsMax,
  signatureChecksInFlightMax,
  signatureChecksPerClientMax,
  signatureChecksWaitingMax,
  tokenVerdictsMax,
  userCharsMax,
} from "../../../lib/limits.ts";
import type { JWTPayload } from "jose";
import type { Exchange, OwnReply } from "../../exchange.ts";
import { refuse, type Guard, type Rehearsal, type Verdict } from "../guard.ts";
import { clientName } from "../limits/client-key.ts";
import { busy } from "./busy.ts";
import { quoted, unauthorized, type Realm } from "./challenge.ts";
import { bearerOf, queryTokens } from "./token.ts";
import { BadToken, NoKeys, type TokenVerifier } from "./token-verifier.ts";

/** A token that was verified. */
interface Good {
  /** its `exp`, in seconds */
  readonly exp: number;
  readonly user: string;
  /** of the key set it was verified with */
  readonly version: number;
}

export class JwtGuard implements Guard {
  readonly name = "authorization";
  /** by the token's digest, so that no token is kept */
  readonly #good = new BoundedMap<string, Good>(tokenVerdictsMax);
  readonly #gate = new Gate(signatureChecksInFlightMax, signatureChecksWaitingMax, signatureChecksPerClientMax);

  constructor(
    readonly verifier: TokenVerifier,
    readonly realm: Realm,
  ) {}

  check(exchange: Exchange): Verdict | Promise<Verdict> {
    const given = queryTokens(exchange.target);
    // As in the original, the query wins over the field; two of them could be read by two readers as two clients.
    if (given.length > 1) return this.#refuse(exchange, "the query holds more than one token");
    const field = exchange.field("authorization");
    const token = given[0] ?? bearerOf(field);
    if (token === undefined) {
      if (field !== undefined && /^bearer\b/i.test(field)) return this.#refuse(exchange, "it is not well formed");
      return this.#challenge(exchange, "", "no token");
    }
    if (token.length > credentialCharsMax || !wellFormed.test(token))
      return this.#refuse(exchange, "it is not well formed");
    const digest = Bun.SHA256.hash(token, "base64");
    const good = this.#good.get(digest);
    if (good && this.#holds(good)) {
      exchange.user = good.user;
      return undefined;
    }
    return this.#verify(exchange, token, digest);
  }

  /** Keys that would have to be fetched are not: then only the request itself shows what becomes of the token. */
  async rehearse(exchange: Exchange): Promise<Rehearsal> {
    const { keySet } = this.verifier;
    const shown = queryTokens(exchange.target).length > 0 || bearerOf(exchange.field("authorization")) !== undefined;
    if (shown && keySet && !keySet.fresh)
      return { verdict: undefined, note: `jwt: the keys of ${keySet.url} would be fetched first`, open: true };
    return { verdict: await this.check(exchange), note: exchange.user === "" ? "jwt" : `jwt of ${exchange.user}` };
  }

  async #verify(exchange: Exchange, token: string, digest: string): Promise<Verdict> {
    const version = this.#version;
    let payload: JWTPayload;
    try {
      payload = await this.#gate.run(clientName(exchange.client), () => this.verifier.verify(token));
    } catch (error) {
      if (error instanceof BadToken) return this.#refuse(exchange, error.message);
      if (error instanceof NoKeys) return unavailable(error);
      return busy(error);
    }
    exchange.user = userOf(payload);
    this.#good.set(digest, { exp: payload.exp!, user: exchange.user, version });
    return undefined;
  }

  get #version(): number {
    return this.verifier.keySet?.version ?? 0;
  }

  #holds({ exp, version }: Good): boolean {
    const { keySet, rule } = this.verifier;
    // The same comparison as the verifier's.
    if (exp <= Math.floor(Date.now() / 1000) - (rule.leeway ?? 0)) return false;
    // A key that was withdrawn takes its tokens with it.
    return !keySet || (keySet.fresh && version === keySet.version);
  }

  #refuse(exchange: Exchange, cause: string): OwnReply {
    // RFC 6750 3.1. What exactly is wrong is for the log.
    return this.#challenge(exchange, `, error="invalid_token"`, `the token is refused: ${cause}`);
  }

  #challenge(exchange: Exchange, error: string, cause: string): OwnReply {
    const challenge = `Bearer realm=${quoted(this.realm.of(exchange))}${error}`;
    return unauthorized(challenge, "a valid token is needed here", `jwt: ${cause}`);
  }
}

/** RFC 7515 7.1: three parts of base64url. */
const wellFormed = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Fails closed: without keys nobody can be told apart. */
function unavailable(error: NoKeys): OwnReply {
  const why = "tokens cannot be verified at the moment";
  return refuse(503, why, [["Retry-After", "1"]], `jwt: ${error.message}`);
}

/** For the log: RFC 7519's subject, else the claims of the original's tokens, newest first. */
function userOf({ sub, owner, user }: JWTPayload): string {
  const name = [sub, owner, user].find((claim) => typeof claim === "string");
  return ((name as string | undefined) ?? "").slice(0, userCharsMax);
}
