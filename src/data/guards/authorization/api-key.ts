/** `authorization: {type: apikey}`: one of several keys in a field of the request. */
import { credentialCharsMax } from "../../../lib/limits.ts";
import type { Exchange } from "../../exchange.ts";
import type { Guard, Verdict } from "../guard.ts";
import { quoted, unauthorized, type Realm } from "./challenge.ts";
import type { AuthorizationRule } from "./rules.ts";
import { SecretDigest } from "./secret-digest.ts";

export class ApiKeyGuard implements Guard {
  readonly name = "authorization";
  readonly #header: string;
  readonly #keys: readonly { readonly name: string; readonly digest: SecretDigest }[];

  constructor(
    rule: AuthorizationRule & { type: "apikey" },
    readonly realm: Realm,
  ) {
    this.#header = (rule.header ?? "x-api-key").toLowerCase();
    const named = Object.entries(rule.keys ?? {});
    const keys: [string, string][] = rule.data === undefined ? named : [["data", rule.data], ...named];
    this.#keys = keys.map(([name, key]) => ({ name, digest: new SecretDigest(key) }));
  }

  check(exchange: Exchange): Verdict {
    const field = exchange.field(this.#header) ?? "";
    let name: string | undefined;
    if (field !== "" && field.length <= credentialCharsMax) {
      // Two lines arrive joined by a comma, and are no key.
      const bytes = Buffer.from(field, "latin1");
      // Every key is compared, so that the time tells nothing about which one came close.
      for (const key of this.#keys) if (key.digest.matches(bytes)) name = key.name;
    }
    if (name === undefined) {
      return unauthorized(
        `ApiKey realm=${quoted(this.realm.of(exchange))}`,
        "a valid API key is needed here",
        `apikey: ${field === "" ? "no key" : "not a valid key"}`,
      );
    }
    exchange.user = name;
    return undefined;
  }
}
