/**
 * Challenges: what proves to an ACME server that a name is ours, for as long as its order is pending. Ours are in memory,
 * those of replicas in the shared state folder.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { acmeKeyAuthorizationBytesMax, acmeTokenReadWaitMs, acmeTokenReadsMax } from "../../lib/limits.ts";
import type { Served } from "../tls/certificate-set.ts";

/** RFC 8555 8.1: base64url with at least 128 bits, so at least 22 characters; and never a path. */
const tokenForm = /^[A-Za-z0-9_-]{22,128}$/;

export function isToken(text: string): boolean {
  return tokenForm.test(text);
}

/** One change of what is pending; without its second half it is over. Plain data. */
export type ChallengeChange =
  | { readonly token: string; readonly keyAuthorization: string | undefined }
  | { readonly name: string; readonly certificate: Served | undefined };

export class Challenges {
  /** key authorizations by token */
  readonly #tokens = new Map<string, string>();
  /** TLS-ALPN-01: certificates by name */
  readonly #certificates = new Map<string, Served>();
  #reads = 0;
  /** is told every change, so that other processes can {@link apply} it */
  onChange: ((change: ChallengeChange) => void) | undefined;

  /** @param folder with a file for each token that any replica has pending */
  constructor(readonly folder: () => string) {}

  add(token: string, keyAuthorization: string): void {
    this.apply({ token, keyAuthorization });
  }

  remove(token: string): void {
    this.apply({ token, keyAuthorization: undefined });
  }

  apply(change: ChallengeChange): void {
    if ("token" in change) put(this.#tokens, change.token, change.keyAuthorization);
    else put(this.#certificates, change.name, change.certificate);
    this.onChange?.(change);
  }

  /** Everything that is pending, for a process that joins late. */
  pending(): ChallengeChange[] {
    const tokens = [...this.#tokens].map(([token, keyAuthorization]) => ({ token, keyAuthorization }));
    return [...tokens, ...[...this.#certificates].map(([name, certificate]) => ({ name, certificate }))];
  }

  /** names that are being proved in the TLS handshake */
  get names(): number {
    return this.#certificates.size;
  }

  certificateOf(serverName: string): Served | undefined {
    return this.#certificates.get(serverName);
  }

  prove(name: string, certificate: Served | undefined): void {
    this.apply({ name, certificate });
  }

  /**
   * The key authorization of a pending order. Only a replica's token costs a look into the folder, which never blocks.
   * @param token of the form {@link isToken}
   */
  find(token: string): string | undefined | Promise<string | undefined> {
    const own = this.#tokens.get(token);
    if (own !== undefined || this.#reads >= acmeTokenReadsMax) return own;
    this.#reads++;
    return this.#read(token).finally(() => this.#reads--);
  }

  async #read(token: string): Promise<string | undefined> {
    try {
      const text = await readFile(join(this.folder(), token), {
        encoding: "latin1",
        signal: AbortSignal.timeout(acmeTokenReadWaitMs),
      });
      const found = text.trimEnd();
      const isWhole = text.length <= acmeKeyAuthorizationBytesMax && /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$/.test(found);
      return isWhole && found.startsWith(`${token}.`) ? found : undefined;
    } catch {
      return undefined;
    }
  }
}

function put<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
