/** Finds the secrets of a configuration tree: they are taken as written, and hidden from every message and quoted line. */
import { suggest } from "../lib/suggest.ts";
import type { Entry, ListNode, MapNode, Node, ScalarNode } from "./node.ts";
import type { Report } from "./report.ts";

/** Keys that hold a secret wherever they stand. */
const anywhere = new Set(["master_key", "token", "hmac_key"]);
/** Keys that hold one inside `authorization`. */
const insideAuthorization = new Set(["data", "creds", "users", "keys"]);
/** Keys of it that hold none. Whatever else stands there may be the user or the name of a key that slipped out of its map. */
const plainInAuthorization = new Set(
  "type realm header public_key jwks algorithms issuer audience claims leeway timeout copy_headers verify ca_file".split(
    " ",
  ),
);
/** Lists of header items, any of which may carry credentials. */
const headerLists = new Set(["server_headers", "client_headers", "headers"]);
/** Names of such headers; a mistyped item begins with one of them all the same. */
const credentialName = /auth|cookie|token|secret|passw|key|credential/i;
/** Words that hide what follows although no such key exists there: a slip must not print what it misspells. */
const telling = [...anywhere, ...insideAuthorization, "password", "secret", "api_key"];

/** Nothing was read there, but a comment or the name of an anchor may stand there. */
function isEmpty(node: Node): boolean {
  return node.kind === "scalar" && node.value === null;
}

/** Whatever marks have slipped into its name. */
function isSecretItem(written: string): boolean {
  const name = written.replace(/^\W+/, "").split(":", 1)[0]!;
  return credentialName.test(name.replace(/\W/g, ""));
}

/**
 * Marks every secret below `root` and tells the report to hide it.
 * @param known keys that are what they say, however much they look like a misspelt secret
 */
export function hideSecrets(root: MapNode, report: Report, known: ReadonlySet<string>): void {
  new Walk(report, known).map(root, false);
}

class Walk {
  #tells = new Map<string, boolean>();

  constructor(
    readonly report: Report,
    readonly known: ReadonlySet<string>,
  ) {}

  map(node: MapNode, inAuthorization: boolean): void {
    for (const [key, entry] of node.entries) this.#entry(key, entry, inAuthorization);
  }

  #entry(key: string, { at, value }: Entry, inAuthorization: boolean): void {
    const isSecret = anywhere.has(key) || (inAuthorization && insideAuthorization.has(key));
    const isStrange = inAuthorization && !isSecret && !plainInAuthorization.has(key);
    const holdsSecrets = isSecret || key === "authorization" || headerLists.has(key);
    if (isEmpty(value) && (holdsSecrets || isStrange)) {
      // `data: # secret`, `data: &secret`; and `data"secret"`, which is a key without a value.
      if (holdsSecrets) this.report.hideBehind(at);
      else this.report.hide(at, key);
    } else if (headerLists.has(key) && value.kind !== "map") this.#headers(value);
    else if (key === "authorization") this.#authorization(value);
    // A host may be called `token` or `users`: what has `paths` is never a secret.
    else if (value.kind === "map" && value.entries.has("paths")) this.map(value, false);
    else if ((key === "paths" || key === "upstreams") && value.kind === "map") this.#places(value);
    else if (isSecret) this.#mark(value, true, key === "users" || key === "keys");
    else if (isStrange || (value.kind !== "map" && this.#isTelling(key))) this.#mark(value, false, true);
    else if (!(inAuthorization && key === "claims")) this.#below(value, inAuthorization);
  }

  /** Hosts and paths are maps; anything else in their place has slipped out of one. */
  #places(map: MapNode): void {
    for (const [key, entry] of map.entries) {
      if (entry.value.kind === "map") this.#entry(key, entry, false);
      else this.#mark(entry.value, false);
    }
  }

  #below(node: Node, inAuthorization: boolean): void {
    if (node.kind === "map") this.map(node, inAuthorization);
    else if (node.kind === "list") for (const item of node.items) this.#below(item, inAuthorization);
    else if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(node.written)) this.#mark(node, false);
  }

  /** `{type, data, …}`, or the list `[type, value]` of 2025, or a lone text that should have been one of these. */
  #authorization(node: Node): void {
    if (node.kind === "scalar") return this.#mark(node, false);
    if (node.kind === "list")
      return node.items.slice(node.items.length > 1 ? 1 : 0).forEach((item) => this.#mark(item, true));
    const type = node.entries.get("type")?.value;
    for (const [key, entry] of node.entries) {
      const { value } = entry;
      // The address of a forward service is worth seeing in an error, unless it carries a password.
      const isAddress =
        key === "data" && type?.kind === "scalar" && type.value === "forward" && value.kind === "scalar";
      if (!isAddress || value.written.includes("@")) this.#entry(key, entry, true);
    }
  }

  #headers(value: ListNode | ScalarNode): void {
    for (const item of value.kind === "list" ? value.items : [value]) {
      if (item.kind !== "scalar" || isEmpty(item) || isSecretItem(item.written)) this.#mark(item, false);
    }
  }

  /** @param exact the value is a secret by its key, not only by suspicion: it is then taken as written */
  #mark(node: Node, exact: boolean, named = false): void {
    if (node.kind === "list") for (const item of node.items) this.#mark(item, exact);
    else if (node.kind === "map") {
      const names = [...node.entries.keys()];
      // {env: NAME} and {file: PATH} say where the secret is, not what it is.
      if (names.length === 1 && (names[0] === "env" || names[0] === "file")) return;
      for (const [key, { at, value }] of node.entries) {
        // `data: {user: secret}` was meant as a pair: only the keys of `users` and `keys` are names, and no name stands alone.
        if (!named || isEmpty(value)) this.report.hide(at, key);
        this.#mark(value, exact);
      }
    } else if (isEmpty(node)) this.report.hideBehind(node.span);
    else {
      if (exact) node.secret = true;
      this.report.hide(node.span, typeof node.value === "string" ? node.value : node.written);
    }
  }

  #isTelling(key: string): boolean {
    let tells = this.#tells.get(key);
    if (tells === undefined) {
      const lower = key.toLowerCase();
      tells =
        telling.includes(lower) || (!this.known.has(key) && lower.length >= 3 && suggest(lower, telling) !== undefined);
      this.#tells.set(key, tells);
    }
    return tells;
  }
}
