/**
 * The TLS listener of the engine `bun`: Bun.serve with its list of certificates. It cannot change them, so a change opens a
 * second listener on the same port, and the first one drains.
 */
import { refuseSecondCopy } from "../../lib/cannot-listen.ts";
import { describe } from "../../lib/cause.ts";
import { tlsListenersOldMax, tlsSwapEveryMs, tlsSwapOverlapMs, tlsSwapRetryMs } from "../../lib/limits.ts";
import { CertificateIndex, type CertificateSet, type Served } from "../tls/certificate-set.ts";
import { contextOptions } from "../tls/contexts.ts";
import { gradeOptions, type TlsGrade } from "../tls/grades.ts";
import { steerNewConnections } from "../tls/reuseport.ts";
import { listenBun, type BunListener, type BunTls } from "./bun.ts";
import type { ListenerOptions, TlsListener } from "./listener.ts";

export interface BunTlsOptions extends ListenerOptions {
  readonly certificates: CertificateSet;
  readonly grade: TlsGrade;
  readonly http2: boolean;
  readonly http3: boolean;
  log(level: "warn" | "debug", target: string, text: string): void;
}

/** @throws the error of Bun.serve: EADDRINUSE, EACCES, …, or that of a certificate it cannot use */
export function listenBunTls(options: BunTlsOptions): TlsListener {
  return new BunTlsListener(options);
}

class BunTlsListener implements TlsListener {
  #current: BunListener;
  #served: string;
  #wanted: CertificateSet | undefined;
  #swapping: Promise<void> | undefined;
  /** they drain */
  readonly #old = new Set<BunListener>();
  /** why the last change failed; "" = it did not */
  #failure = "";
  #again: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(readonly options: BunTlsOptions) {
    if (!options.sharesPort && !options.mayShareLater) refuseSecondCopy(options.address);
    const index = new CertificateIndex(options.certificates);
    this.#served = fingerprint(index);
    this.#current = listenBun(options, bunTls(index, options));
  }

  get url(): string {
    return this.#current.url;
  }

  get port(): number {
    return this.#current.port;
  }

  get open(): number {
    let open = this.#current.open;
    for (const old of this.#old) open += old.open;
    return open;
  }

  certificates(set: CertificateSet): void {
    clearTimeout(this.#again);
    this.#wanted = set;
    this.#swapping ??= this.#swap().finally(() => (this.#swapping = undefined));
  }

  policiesChanged(): void {}

  async forewarn(): Promise<void> {
    this.#end();
    await this.#swapping;
    await this.#current.forewarn?.();
  }

  async drain(): Promise<void> {
    this.#end();
    await this.#swapping;
    await Promise.all([this.#current, ...this.#old].map((listener) => listener.drain()));
  }

  async close(): Promise<void> {
    this.#end();
    await Promise.all([this.#current, ...this.#old].map((listener) => listener.close()));
  }

  /** Changes that come meanwhile are taken together: a swap costs the clients of the old listener their connections. */
  async #swap(): Promise<void> {
    while (this.#wanted && !this.#ended) {
      const set = this.#wanted;
      const index = new CertificateIndex(set);
      this.#wanted = undefined;
      const served = fingerprint(index);
      if (served === this.#served) continue;
      try {
        await this.#replace(bunTls(index, this.options));
        this.#served = served;
        this.#failure = "";
      } catch (error) {
        this.#failed(set, describe(error));
      }
      if (this.#wanted) await Bun.sleep(tlsSwapEveryMs);
    }
  }

  /** Files may be free again later: nobody is to be shown an old certificate until the next change. */
  #failed(set: CertificateSet, failure: string): void {
    if (failure !== this.#failure)
      this.options.log("warn", "tls", `Cannot change the certificates: ${failure}; those before stay`);
    this.#failure = failure;
    if (this.#ended || this.#wanted) return;
    this.#again = setTimeout(() => this.certificates(set), tlsSwapRetryMs).unref();
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#again);
  }

  async #replace(tls: BunTls): Promise<void> {
    const old = this.#current;
    const { address } = this.options;
    if ("unix" in address) return;
    const steering = steerNewConnections(old.port, this.options.sharesPort);
    // Where this throws, by a certificate or for want of files, the old one stays as it is.
    this.#current = listenBun({ ...this.options, address: { hostname: address.hostname, port: old.port } }, tls);
    try {
      steering?.toNewest();
      this.#old.add(old);
      old.retire();
      // What the kernel has queued for the old one is accepted meanwhile: closing it would reset those clients.
      await Bun.sleep(tlsSwapOverlapMs);
    } finally {
      void old.drain().finally(() => this.#old.delete(old));
      steering?.end();
    }
    const [oldest] = this.#old;
    if (this.#old.size > tlsListenersOldMax) void oldest!.close();
  }
}

/** Everything that clients could tell from another set. */
function fingerprint(index: CertificateIndex): string {
  return JSON.stringify([index.default.id, [...index.entries()].map(([name, { id }]) => [name, id])]);
}

function bunTls(index: CertificateIndex, { grade, http2, http3 }: BunTlsOptions): BunTls {
  const { minVersion, maxVersion } = gradeOptions(grade);
  const entry = (served: Served): Bun.TLSOptions =>
    // BUN(1.4.4): several keys for one name and numeric versions work, and are not typed; remove when they are.
    ({ ...contextOptions(served, grade, undefined), minVersion, maxVersion }) as Bun.TLSOptions;
  const named = [...index.entries()].map(([serverName, served]) => ({ ...entry(served), serverName }));
  return { entries: [entry(index.default), ...named], http2, http3 };
}
