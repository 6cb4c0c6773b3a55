/** What every listener engine is given, and what it gives back. */
import type { ListenAddress } from "../../lib/address.ts";
import type { TcpKeepAlive } from "../../lib/listening-sockets.ts";
import type { Exchange } from "../exchange.ts";
import type { Ending } from "../plane.ts";
import type { CertificateSet } from "../tls/certificate-set.ts";

/** 0 = no bound. */
export interface ClientTimeouts {
  /** idle keep-alive connections are closed after this */
  readonly idleSeconds: number;
  /** silence allowed inside a request body */
  readonly bodyMs: number;
  /** how long a client may read nothing of its answer */
  readonly writeMs: number;
}

export interface ListenerOptions {
  readonly address: ListenAddress;
  /** other processes of ours listen on the same port (SO_REUSEPORT); whoever starts them sees to it that nobody else does */
  readonly sharesPort?: boolean | undefined;
  /** a successor of this process may come to share it */
  readonly mayShareLater?: boolean | undefined;
  /** of client connections; absent = the system sees to none */
  readonly keepAlive?: TcpKeepAlive | undefined;
  /** asked anew for each request: SIGHUP may change them */
  timeouts(): ClientTimeouts;
  /** answers through {@link Exchange.reply} */
  handle(exchange: Exchange): void;
  ended(exchange: Exchange, ending: Ending): void;
  /** a fault of ours: the client gets 500 */
  failed(error: unknown): void;
}

export interface Listener {
  readonly url: string;
  readonly port: number;
  /** Before {@link drain}, where that would cut kept connections: their clients are told to come back on others. */
  forewarn?(): Promise<void>;
  /** Stops accepting; open exchanges go on. Resolves when the last one ended. */
  drain(): Promise<void>;
  /** Cuts what is open. */
  close(): Promise<void>;
  /** exchanges and WebSockets open now */
  readonly open: number;
}

/** A listener of the TLS port. */
export interface TlsListener extends Listener {
  /** New connections are served these; those that stand go on. */
  certificates(set: CertificateSet): void;
  /** The rules have changed, and with them perhaps who must show a certificate. */
  policiesChanged(): void;
}

/** An address that a browser can open. */
export function visible(hostname: string): string {
  return hostname === "0.0.0.0" || hostname === "::" ? "127.0.0.1" : hostname;
}
