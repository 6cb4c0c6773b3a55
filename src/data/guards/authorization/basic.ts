/** `authorization: {type: basic}`: user and password (RFC 7617), plain or as a hash. */
import type { Exchange, OwnReply } from "../../exchange.ts";
import type { Guard, Verdict } from "../guard.ts";
import { readBasic } from "./basic-credentials.ts";
import { busy } from "./busy.ts";
import { quoted, unauthorized, type Realm } from "./challenge.ts";
import type { PasswordChecks } from "./password-checks.ts";
import { isPasswordHash } from "./password-hash.ts";
import type { AuthorizationRule } from "./rules.ts";
import { SecretDigest } from "./secret-digest.ts";

type Password = { readonly digest: SecretDigest } | { readonly hash: string };

export class BasicGuard implements Guard {
  readonly name = "authorization";
  readonly #users: ReadonlyMap<string, Password>;
  /** compared with where there is no such user: the time must not tell */
  readonly #decoy: Password;

  constructor(
    rule: AuthorizationRule & { type: "basic" },
    readonly realm: Realm,
    readonly checks: PasswordChecks,
  ) {
    const users = new Map<string, Password>();
    for (const [user, password] of Object.entries(rule.users ?? {})) users.set(user, passwordOf(password));
    if (rule.data !== undefined) {
      const colon = rule.data.indexOf(":");
      users.set(rule.data.slice(0, colon), passwordOf(rule.data.slice(colon + 1)));
    }
    this.#users = users;
    this.#decoy = [...users.values()].find((password) => "hash" in password) ?? passwordOf(crypto.randomUUID());
  }

  check(exchange: Exchange): Verdict | Promise<Verdict> {
    const field = exchange.field("authorization");
    if (field === undefined) return this.#refuse(exchange, "no credentials");
    const given = readBasic(field);
    if (!given) return this.#refuse(exchange, "the credentials are not of the scheme Basic, or not well formed");
    const { user, password } = given;
    const known = this.#users.get(user);
    const wanted = known ?? this.#decoy;
    const right = this.#isRight(wanted, password, exchange.client);
    if (typeof right === "boolean") return this.#decide(exchange, known && right ? user : "");
    return right.then((yes) => this.#decide(exchange, known && yes ? user : ""), busy);
  }

  #isRight(wanted: Password, password: Uint8Array, client: string): boolean | Promise<boolean> {
    if ("hash" in wanted) return this.checks.check(wanted.hash, password, client);
    if (wanted.digest.matches(password)) return true;
    // As slow as for a user who does not exist: beside hashes a quick "no" would tell that this one does.
    if (!("hash" in this.#decoy)) return false;
    const slow = this.checks.check(this.#decoy.hash, password, client);
    return typeof slow === "boolean" ? false : slow.then(() => false);
  }

  /** @param user "" = nobody */
  #decide(exchange: Exchange, user: string): Verdict {
    if (user === "") return this.#refuse(exchange, "unknown user or wrong password");
    exchange.user = user;
    return undefined;
  }

  #refuse(exchange: Exchange, cause: string): OwnReply {
    const realm = quoted(this.realm.of(exchange));
    return unauthorized(
      `Basic realm=${realm}, charset="UTF-8"`,
      "user and password are needed here",
      `basic: ${cause}`,
    );
  }
}

function passwordOf(text: string): Password {
  return isPasswordHash(text) ? { hash: text } : { digest: new SecretDigest(text) };
}
