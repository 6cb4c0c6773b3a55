/** Finds the secrets of a configuration tree: they are taken as written, and hidden from every message and quoted line. */
import { suggest } from "../lib/suggest.ts";
import type { ListNode, MapNode, Node } from "./node.ts";
import type { Report } from "./report.ts";

/** Keys that hold a secret wherever they stand. */
const anywhere = new Set(["master_key", "token", "hmac_key"]);
/** Keys that hold one inside `authorization`. */
const insideAuthorization = new Set(["data", "creds", "users", "keys"]);
/** Lists of header items, any of which may carry credentials. */
const headerLists = new Set(["server_headers", "client_headers", "headers"]);
/** Names of such headers; a mistyped item begins with one of them all the same. */
const credentialHeader = /^[+-]?\s*[\w-]*(?:auth|cookie|token|secret|password|passwd|api-?key|credential)/i;
/** Words that hide what follows although no such key exists there: a slip must not print what it misspells. */
const telling = [...anywhere, ...insideAuthorization, "password", "secret", "api_key"];

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
    for (const [key, { value }] of node.entries) this.#entry(key, value, inAuthorization);
  }

  #entry(key: string, value: Node, inAuthorization: boolean): void {
    if (headerLists.has(key) && value.kind === "list") this.#headers(value);
    else if (key === "authorization") this.#authorization(value);
    // A host may be called `token` or `users`: what has `paths` is never a secret.
    else if (value.kind === "map" && value.entries.has("paths")) this.map(value, false);
    else if (anywhere.has(key) || (inAuthorization && insideAuthorization.has(key))) {
      this.#mark(value, true, key === "users" || key === "keys");
    } else if (value.kind !== "map" && this.#isTelling(key)) this.#mark(value, false);
    else if (!(inAuthorization && key === "claims")) this.#below(value, inAuthorization);
  }

  #below(node: Node, inAuthorization: boolean): void {
    if (node.kind === "map") this.map(node, inAuthorization);
    else if (node.kind === "list") for (const item of node.items) this.#below(item, inAuthorization);
    else if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(node.written)) this.#mark(node, false);
  }

  /** `{type, data, …}`, or the list `[type, value]` of 2025, or a lone text that should have been one of these. */
  #authorization(node: Node): void {
    if (node.kind === "scalar") return this.#mark(node, false);
    if (node.kind === "list") return node.items.slice(1).forEach((item) => this.#mark(item, true));
    const type = node.entries.get("type")?.value;
    for (const [key, { value }] of node.entries) {
      // The address of a forward service is worth seeing in an error, unless it carries a password.
      const isAddress =
        key === "data" && type?.kind === "scalar" && type.value === "forward" && value.kind === "scalar";
      if (!isAddress || value.written.includes("@")) this.#entry(key, value, true);
    }
  }

  #headers(list: ListNode): void {
    for (const item of list.items) {
      if (item.kind === "scalar" && credentialHeader.test(item.written.replace(/^["']/, ""))) this.#mark(item, false);
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
        // `data: {user: secret}` was meant as a pair: only the keys of `users` and `keys` are names.
        if (!named) this.report.hide(at, key);
        this.#mark(value, exact);
      }
    } else if (node.written !== "") {
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
