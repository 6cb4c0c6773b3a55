/** Contexts: the TLS contexts of one listener, made when first asked for and kept by what they were made from. */
import { createSecureContext } from "node:tls";
import { BoundedMap } from "../../lib/bounded-map.ts";
import { tlsContextsMax } from "../../lib/limits.ts";
import type { Served } from "./certificate-set.ts";
import type { ClientPolicy } from "./client-policy.ts";
import { gradeOptions, type TlsGrade } from "./grades.ts";

/** What the native side wants: the inside of a node:tls SecureContext. */
export type NativeContext = NonNullable<unknown>;

/** Key, certificate, ciphers, signatures and client authorities of a context. */
export interface ContextOptions {
  readonly key: string[];
  readonly cert: string[];
  readonly ciphers: string;
  readonly secureOptions: number;
  readonly sigalgs?: string;
  readonly ca?: string;
}

/** Several kinds of key for one name stand in one context: the handshake takes the one that the client can use. */
export function contextOptions(served: Served, grade: TlsGrade, policy: ClientPolicy | undefined): ContextOptions {
  const { ciphers, secureOptions, sigalgs } = gradeOptions(grade);
  return {
    key: served.pairs.map((pair) => pair.keyPem),
    cert: served.pairs.map((pair) => pair.certPem),
    ciphers,
    secureOptions,
    ...(sigalgs !== undefined && { sigalgs }),
    ...(policy && { ca: policy.ca }),
  };
}

export class TlsContexts {
  readonly #known = new BoundedMap<string, NativeContext>(tlsContextsMax);

  constructor(readonly grade: TlsGrade) {}

  /**
   * One context per certificate and client policy: tickets resume within a context only, so none carries a verified
   * client over to a host that trusts other authorities.
   * @throws Error when the pair cannot be used
   */
  get(served: Served, policy: ClientPolicy | undefined): NativeContext {
    const key = `${served.id} ${policy?.id ?? ""}`;
    let context = this.#known.get(key);
    if (!context) {
      context = createSecureContext(contextOptions(served, this.grade, policy)).context as NativeContext;
      this.#known.set(key, context);
    }
    return context;
  }

  /** Forgets what is served no more: nothing is to hold keys that were taken away. @param ids of {@link Served} */
  retain(ids: ReadonlySet<string>): void {
    for (const key of [...this.#known.keys()]) if (!ids.has(key.slice(0, key.indexOf(" ")))) this.#known.delete(key);
  }
}
