/** Access: who may ask the admin API for what. Everything that is not named here is refused. */
import type { Settings } from "../../config/settings.ts";
import type { Exchange } from "../../data/exchange.ts";
import { SecretDigest } from "../../data/guards/authorization/secret-digest.ts";
import { readAuthority } from "../../data/routing/host.ts";
import { AddressSet, ipBytes } from "../../lib/address.ts";
import { credentialCharsMax } from "../../lib/limits.ts";

export class Access {
  readonly #digest: SecretDigest | undefined;

  /** @param settings `master_key` is read once, `admin_read` at each request */
  constructor(readonly settings: () => Pick<Settings, "master_key" | "admin_read">) {
    const { master_key } = settings();
    this.#digest = master_key === undefined ? undefined : new SecretDigest(master_key);
  }

  /** There is a key at all. */
  get hasKey(): boolean {
    return this.#digest !== undefined;
  }

  /** Compares in constant time; any length of either. */
  isKey(given: string): boolean {
    return given !== "" && given.length <= credentialCharsMax && this.#digest?.matches(Buffer.from(given)) === true;
  }

  /** How the master key came with a request; undefined without a good one. */
  keyBy(exchange: Exchange): string | undefined {
    const bearer = /^bearer +(.*)$/i.exec(exchange.field("authorization") ?? "")?.[1];
    if (bearer !== undefined && this.#isField(bearer)) return "Bearer";
    if (this.#isField(exchange.field("x-api-key") ?? "")) return "x-api-key";
    return this.#inQuery(exchange.target) ? "?key=" : undefined;
  }

  /** Whether `/metrics` and `/status` are for this peer without a key. */
  mayRead(exchange: Exchange): boolean {
    const { admin_read } = this.settings();
    return admin_read === "open" || (admin_read === "loopback" && isFromHere(exchange));
  }

  /** Fields are bytes, whose characters a key may spell in UTF-8. */
  #isField(value: string): boolean {
    return this.isKey(value) || this.isKey(Buffer.from(value, "latin1").toString("utf8"));
  }

  /** The original's form. A "+" is a plus or a blank, by whoever wrote the link. */
  #inQuery(target: string): boolean {
    const query = target.indexOf("?");
    if (query < 0) return false;
    for (const parameter of target.slice(query + 1).split("&")) {
      if (!parameter.startsWith("key=")) continue;
      const value = parameter.slice("key=".length);
      return this.isKey(decode(value)) || this.isKey(decode(value.replaceAll("+", " ")));
    }
    return false;
  }
}

const loopback = new AddressSet(["loopback"]);

/**
 * The peer is a program on this machine that asks for itself. Another proxy here would make loopback peers of all its
 * clients, and a page in a browser here reaches loopback under a name of its own (DNS rebinding).
 */
function isFromHere(exchange: Exchange): boolean {
  // A unix socket is reached by whoever may open it (0600).
  const isLocal = exchange.peer === "" || loopback.has(exchange.peer);
  if (!isLocal || passedOn.some((name) => exchange.field(name) !== undefined) || isOfAnotherPage(exchange))
    return false;
  if (exchange.peer === "" || exchange.authority === undefined) return true;
  const host = readAuthority(exchange.authority)?.host ?? "";
  return host === "localhost" || ipBytes(host.replace(/^\[|\]$/g, "")) !== undefined;
}

const passedOn = (
  "x-forwarded-for forwarded x-real-ip via cdn-loop x-forwarded-host x-forwarded-proto x-forwarded-server x-client-ip " +
  "true-client-ip cf-connecting-ip"
).split(" ");

/** A browser here asks for a page from elsewhere. That could not read the answer, but has no business to ask either. */
function isOfAnotherPage(exchange: Exchange): boolean {
  const site = exchange.field("sec-fetch-site");
  if (site !== undefined && site !== "same-origin" && site !== "none") return true;
  const origin = exchange.field("origin");
  return origin !== undefined && URL.parse(origin)?.host !== exchange.authority;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
