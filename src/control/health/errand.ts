/** Errand: one question to a server, with a deadline; whatever was opened for it is closed when it ends. */
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as connectTls, type TLSSocket } from "node:tls";
import { isHostName, type DialAddress } from "../../lib/address.ts";
import { describe } from "../../lib/cause.ts";
import { names, type Resolver } from "../../lib/resolve.ts";

export interface ErrandOptions<T> {
  /** milliseconds for everything together */
  readonly timeoutMs: number;
  /** ends it early */
  readonly signal?: AbortSignal;
  readonly resolver?: Resolver;
  /** what is known at the deadline; undefined = it has failed */
  readonly late?: () => T | undefined;
}

/** How to open a connection by TLS. */
export interface TlsTerms {
  readonly alpn: readonly string[];
  /** SNI, and the name to verify; may be an IP or "" */
  readonly serverName: string;
  readonly verify: boolean;
  /** PEM; undefined = the built-in authorities */
  readonly ca?: string;
}

/** A connection that could not be made. The message is the short cause. */
export class DialError extends Error {
  /** @param reached the server accepted the connection; TLS failed on it */
  constructor(
    readonly error: unknown,
    readonly reached: boolean,
  ) {
    super(describe(error));
    this.name = "DialError";
  }

  /** the code of the error behind it, or "" */
  get errorCode(): string {
    const { code } = this.error as { code?: unknown };
    return typeof code === "string" ? code : "";
  }
}

/**
 * Runs one errand.
 * @returns what `work` gives, or `late()` at the deadline
 * @throws Error "timed out after 2 s", "stopped", or what `work` throws
 */
export async function errand<T>(options: ErrandOptions<T>, work: (errand: Errand) => Promise<T>): Promise<T> {
  const { timeoutMs, signal, late } = options;
  const self = new Errand(timeoutMs, options.resolver ?? names);
  const cut = Promise.withResolvers<T>();
  const stop = () => cut.reject(new Error("stopped"));
  if (signal?.aborted) throw new Error("stopped");
  signal?.addEventListener("abort", stop, { once: true });
  self.after(timeoutMs, () => {
    const known = late?.();
    if (known === undefined) cut.reject(new Error(`timed out after ${timeoutMs / 1000} s`));
    else cut.resolve(known);
  });
  try {
    const done = work(self);
    // Cutting it closes its sockets, which makes it fail later, when nobody waits for it.
    done.catch(() => {});
    return await Promise.race([done, cut.promise]);
  } finally {
    signal?.removeEventListener("abort", stop);
    self.end();
  }
}

export class Errand {
  readonly #closers = new Set<() => void>();
  readonly #untilMs: number;
  #over = false;

  constructor(
    timeoutMs: number,
    readonly resolver: Resolver,
  ) {
    this.#untilMs = performance.now() + timeoutMs;
  }

  /** Does `act` at the end, at once if that has come. */
  atEnd(act: () => void): void {
    if (this.#over) act();
    else this.#closers.add(act);
  }

  /** Calls `act` after a time, unless the errand ends before. */
  after(waitMs: number, act: () => void): void {
    const timer = setTimeout(act, waitMs);
    timer.unref();
    this.atEnd(() => clearTimeout(timer));
  }

  sleep(waitMs: number): Promise<void> {
    return new Promise((resolve) => this.after(waitMs, resolve));
  }

  end(): void {
    this.#over = true;
    for (const close of this.#closers) close();
    this.#closers.clear();
  }

  /**
   * Connects: every address of a name in turn, the time left shared among them.
   * @throws DialError
   */
  async connect(address: DialAddress, tls?: TlsTerms): Promise<Socket> {
    if ("unix" in address) return this.#open({ path: address.unix }, "", tls);
    let ips: string[];
    try {
      ips = await this.resolver.resolve(address.host);
    } catch (error) {
      throw new DialError(error, false);
    }
    let failure: unknown;
    for (const [i, ip] of ips.entries()) {
      const leftMs = Math.max(1, this.#untilMs - performance.now());
      const boundMs = i < ips.length - 1 ? leftMs / (ips.length - i) : undefined;
      try {
        return await this.#open({ host: ip, port: address.port }, address.host, tls, boundMs);
      } catch (error) {
        failure = error;
        if (this.#over || (error instanceof DialError && error.reached)) break;
      }
    }
    throw failure;
  }

  // By node:net. BUN(1.4.4): a Bun.connect in progress cannot be given up, so that each check of a
  // host that drops SYNs would hold a file descriptor for two minutes. Remove when it takes an AbortSignal.
  #open(where: Where, host: string, tls: TlsTerms | undefined, boundMs?: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(new DialError(new Error("stopped"), false));
      const socket = tls ? connectTls(tlsOptions(where, host, tls)) : connectPlain(where);
      let reached = false;
      let ready = false;
      let error: unknown = Object.assign(new Error("connection closed"), { code: "ECONNRESET" });
      const close = () => void socket.destroy();
      this.atEnd(close);
      socket.on("error", (e) => (error = e));
      socket.once("close", () => {
        this.#closers.delete(close);
        if (!ready) reject(new DialError(error, reached));
      });
      socket.once("connect", () => (reached = true));
      socket.once(tls ? "secureConnect" : "connect", () => {
        ready = true;
        resolve(socket);
      });
      if (boundMs !== undefined) {
        this.after(boundMs, () => {
          if (reached || socket.destroyed) return;
          error = Object.assign(new Error("timed out"), { code: "ETIMEDOUT" });
          socket.destroy();
        });
      }
    });
  }
}

type Where = { readonly path: string } | { readonly host: string; readonly port: number };

function tlsOptions(where: Where, host: string, { alpn, serverName, verify, ca }: TlsTerms) {
  const name = serverName === "" ? host : serverName;
  return {
    ...where,
    ALPNProtocols: [...alpn],
    // SNI holds names only (RFC 6066, section 3); an IP is verified all the same.
    ...(isIP(name) === 0 && isHostName(name) ? { servername: name } : {}),
    rejectUnauthorized: verify,
    ca,
    checkServerIdentity: (_host: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
      checkServerIdentity(name, certificate),
  };
}

/** The protocol agreed on by ALPN, "" for none. */
export function agreedProtocol(socket: Socket): string {
  const { alpnProtocol } = socket as TLSSocket;
  return typeof alpnProtocol === "string" ? alpnProtocol : "";
}
