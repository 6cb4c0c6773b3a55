/**
 * The TLS listener of the engine `socket`: Bun.listen, where contexts change in place, handshakes wait their turn, and
 * what a connection speaks is told by ALPN.
 */
import { normaliseIp, showListen, type ListenAddress } from "../../lib/address.ts";
import { describe } from "../../lib/cause.ts";
import { descriptorReserve } from "../../lib/descriptor-reserve.ts";
import { drainIdleMs, handshakesUnnamedMax, sweepMs, tlsAcceptQueueMax, warningEveryMs } from "../../lib/limits.ts";
import { tuneListener } from "../../lib/listening-sockets.ts";
import { NumberMap } from "../../lib/number-map.ts";
import { NumberedSet } from "../../lib/numbered-set.ts";
import { SparseWarning } from "../../lib/sparse-warning.ts";
import { Sweeper } from "../../lib/sweeper.ts";
import { validationProtocol, type Validations } from "../acme/validations.ts";
import { Refusals, type RefusalReason } from "../observe/refusals.ts";
import { CertificateIndex, type CertificateSet } from "../tls/certificate-set.ts";
import type { ClientPolicy } from "../tls/client-policy.ts";
import { contextOptions, TlsContexts } from "../tls/contexts.ts";
import { gradeOptions, type TlsGrade } from "../tls/grades.ts";
import { HandshakeQueue } from "../tls/handshake-queue.ts";
import { listenHooked, setDefaultContext, wireNames, type HookedSocket } from "../tls/hooks.ts";
import type { Secured } from "../tls/secured.ts";
import { isProtocolError, type SocketEvents } from "../wire/dial.ts";
import type { Transport } from "../wire/transport.ts";
import { Handshake } from "./handshake.ts";
import { Http1Connection } from "./http1.ts";
import { acceptHttp2 } from "./http2.ts";
import { visible, type TlsListener } from "./listener.ts";
import {
  census,
  deaf,
  descriptorOf,
  refusalOf,
  type ClientConnection,
  type Site,
  type SocketListenerOptions,
} from "./socket.ts";

/** One protocol that clients may choose by ALPN. */
export interface TlsProtocol {
  /** as registered, for example `h2` */
  readonly name: string;
  connect(
    transport: Transport,
    peer: string,
    site: Site,
    handOver: (events: SocketEvents) => void,
    secured: Secured,
  ): ClientConnection;
}

/** Also what clients without ALPN speak. */
export const http1: TlsProtocol = {
  name: "http/1.1",
  connect: (transport, peer, site, handOver, secured) => new Http1Connection(transport, peer, site, handOver, secured),
};

export const http2: TlsProtocol = { name: "h2", connect: acceptHttp2 };

export interface TlsListenerOptions extends SocketListenerOptions {
  readonly certificates: CertificateSet;
  readonly grade: TlsGrade;
  /** ours, best first */
  readonly protocols: readonly TlsProtocol[];
  /** which client certificates are asked for. @param serverName lower case; "" without SNI */
  policy(serverName: string): ClientPolicy | undefined;
  /** names may be proved here by TLS-ALPN-01 */
  readonly validations?: Validations | undefined;
}

export interface TlsData {
  events: SocketEvents;
  handshake: Handshake | undefined;
}

/** @throws the error of Bun.listen: EADDRINUSE, EACCES, … */
export function listenTls(options: TlsListenerOptions): TlsListener {
  return new SocketTlsListener(options);
}

export class SocketTlsListener implements TlsListener {
  readonly port: number;
  readonly queue = new HandshakeQueue();
  readonly sweeper = new Sweeper(sweepMs);
  readonly contexts: TlsContexts;
  readonly connections = new NumberedSet<ClientConnection>();
  readonly refusals: Refusals;
  draining = false;
  #stopped = false;
  readonly #crowded = new SparseWarning(warningEveryMs, (count) =>
    this.options.log(
      "warn",
      "client",
      `${count} new TLS connections were closed: too many connections or files are open`,
    ),
  );
  #index: CertificateIndex;
  /** what the default context was made from */
  #defaultKey: string;
  /** which client certificates the default context can verify; not what the rules want, when it could not be changed */
  defaultPolicy: ClientPolicy | undefined;
  readonly #handshakes = new NumberedSet<Handshake>();
  /** those that have told no name yet */
  readonly #unnamed = new NumberedSet<Handshake>();
  readonly #sites = new NumberMap<TlsSite>();
  readonly #listener: Bun.TCPSocketListener<TlsData>;
  #drained: (() => void) | undefined;

  constructor(readonly options: TlsListenerOptions) {
    this.refusals = options.refusals ?? new Refusals();
    this.contexts = new TlsContexts(options.grade);
    this.#index = new CertificateIndex(options.certificates);
    const { hostname, port } = tcp(options.address);
    const { minVersion, maxVersion } = gradeOptions(options.grade);
    const policy = (this.defaultPolicy = options.policy(""));
    this.#defaultKey = this.#keyOfDefault(policy);
    this.#listener = listenHooked<TlsData>({
      hostname,
      port,
      sharesPort: options.sharesPort || options.mayShareLater,
      tls: {
        ...contextOptions(this.#index.default, options.grade, policy),
        minVersion,
        maxVersion,
        ALPNProtocols: wireNames([
          ...options.protocols.map(({ name }) => name),
          ...(options.validations ? [validationProtocol] : []),
        ]),
      },
      socket: {
        serverName: (_, name, socket) => this.#named(name, socket),
        open: (socket) => this.#opened(socket as HookedSocket<TlsData>),
        // `socket.data` is not set where a client was turned away before.
        handshake: (socket, success, error) => socket.data?.handshake?.shaken(success, error),
        data: (socket, chunk) => socket.data.events.data(chunk as Buffer<ArrayBuffer>),
        drain: (socket) => socket.data?.events.drain(),
        end: (socket) => socket.data?.events.end(),
        close: (socket, error) => socket.data?.events.close(error),
        error: (socket, error) => this.#broken(socket as HookedSocket<TlsData>, error),
      },
    });
    descriptorReserve.hold();
    this.port = this.#listener.port;
    tuneListener(this.port, tlsAcceptQueueMax, options.keepAlive);
  }

  get url(): string {
    return `https://${showListen({ hostname: visible(tcp(this.options.address).hostname), port: this.port })}`;
  }

  /** connections and handshakes */
  get held(): number {
    return this.connections.size + this.#handshakes.size;
  }

  get open(): number {
    let open = 0;
    for (const connection of this.connections) if (connection.busy) open++;
    return open;
  }

  certificates(set: CertificateSet): void {
    this.#index = new CertificateIndex(set);
    const served = new Set([this.#index.default.id]);
    for (const [, { id }] of this.#index.entries()) served.add(id);
    this.contexts.retain(served);
    this.#renewDefault();
  }

  policiesChanged(): void {
    this.#renewDefault();
    for (const connection of this.connections) {
      const site = this.#sites.get(connection.serial);
      if (!site) continue;
      const { serverName, policy } = site.secured;
      if ((this.options.policy(serverName)?.id ?? "") === policy) continue;
      // It would only be told 421 from now on.
      site.retired = true;
      connection.drainNow();
    }
  }

  drain(): Promise<void> {
    this.draining = true;
    this.#stop(false);
    // A client that was let in is served: its handshake has as long as an idle connection.
    const late = setTimeout(() => this.#cutHandshakes(), drainIdleMs);
    for (const connection of this.connections) connection.drainNow();
    return new Promise<void>((resolve) => {
      if (this.held === 0) resolve();
      else this.#drained = resolve;
    }).finally(() => clearTimeout(late));
  }

  async close(): Promise<void> {
    this.#stop(true);
    this.#cutHandshakes();
    for (const connection of this.connections) connection.cut();
  }

  // Used by handshakes and connections.

  /** The context for a name. @throws Error when its certificate cannot be used */
  contextFor(serverName: string, policy: ClientPolicy | undefined) {
    return this.contexts.get(this.#index.serve(serverName), policy);
  }

  /** What proves a name to an ACME server. @throws Error when its certificate cannot be used */
  proofFor(serverName: string) {
    const proof = this.options.validations?.challenges.certificateOf(serverName);
    return proof && this.contexts.get(proof, undefined);
  }

  /** It has told its name, so that it can wait for its turn. */
  hasName(handshake: Handshake): void {
    this.#unnamed.delete(handshake);
  }

  /** The handshake is done, one way or the other. */
  handshakeOver(handshake: Handshake): void {
    this.#handshakes.delete(handshake);
    this.#unnamed.delete(handshake);
    this.sweeper.delete(handshake);
    if (this.held === 0) this.#drained?.();
  }

  /** Puts the protocol that was chosen in the place of the handshake. */
  connect(socket: HookedSocket<TlsData>, peer: string, secured: Secured): void {
    const chosen = socket.alpnProtocol;
    const protocol = this.options.protocols.find(({ name }) => name === chosen) ?? http1;
    const site = new TlsSite(this, secured);
    const connection = protocol.connect(socket, peer, site, (events) => (socket.data.events = events), secured);
    socket.data.events = connection;
    this.connections.add(connection);
    this.#sites.set(connection.serial, site);
    this.sweeper.add(connection);
    if (this.draining) connection.drainNow();
  }

  gone(connection: ClientConnection): void {
    if (this.connections.delete(connection)) census.connections--;
    this.#sites.delete(connection.serial);
    this.sweeper.delete(connection);
    if (this.held === 0) this.#drained?.();
  }

  #cutHandshakes(): void {
    for (const handshake of this.#handshakes) handshake.cut();
  }

  #stop(now: boolean): void {
    this.#listener.stop(now);
    if (!this.#stopped) descriptorReserve.letGo();
    this.#stopped = true;
  }

  #opened(socket: HookedSocket<TlsData>): void {
    socket.data = { events: deaf, handshake: undefined };
    // A client that has reset the connection before it was accepted has no address any more.
    const peer = socket.remoteAddress as string | undefined;
    if (peer === undefined) return void socket.terminate();
    const reason = refusalOf(socket, this.options.connectionsMax());
    if (reason !== undefined) return this.#turnAway(socket, peer, reason);
    census.connections++;
    const handshake = new Handshake(this, socket, normaliseIp(peer));
    socket.data = { events: handshake, handshake };
    this.#handshakes.add(handshake);
    this.#unnamed.add(handshake);
    this.sweeper.add(handshake);
    // Who sends no name is asked for a certificate all the same; a name may change that.
    if (handshake.policy) socket.setVerifyMode(true, false);
    this.options.validations?.watch(
      socket,
      () => descriptorOf(socket),
      () => (handshake.isValidation = true),
    );
    if (this.#unnamed.size <= handshakesUnnamedMax) return;
    this.#unnamed.oldest()!.cut();
  }

  /** Bytes that are no TLS come from the client and count as its leaving; anything else is a fault of a handler. */
  #broken(socket: HookedSocket<TlsData>, error: Error): void {
    if (isProtocolError(error)) this.options.log("debug", "tls", `${socket.remoteAddress}: ${describe(error)}`);
    else this.options.failed(error);
    socket.terminate();
  }

  /** Before the handshake, which would cost more than the client can be told by it. */
  #turnAway(socket: HookedSocket<TlsData>, peer: string, reason: RefusalReason): void {
    this.refusals.count(reason);
    this.options.log("debug", "client", `${peer} is turned away before its handshake: ${reason}`);
    this.#crowded.hit(performance.now());
    socket.terminate();
  }

  #named(name: string, socket: HookedSocket<TlsData>): true | undefined {
    const handshake = socket.data?.handshake;
    if (!handshake) return undefined;
    handshake.named(name);
    return true;
  }

  /** The context of clients without SNI. */
  #renewDefault(): void {
    const policy = this.options.policy("");
    const key = this.#keyOfDefault(policy);
    if (key === this.#defaultKey) return;
    try {
      const { minVersion } = gradeOptions(this.options.grade);
      const options = contextOptions(this.#index.default, this.options.grade, policy);
      setDefaultContext(this.#listener as never, { ...options, minVersion });
      this.#defaultKey = key;
      if (this.defaultPolicy?.id === policy?.id) return;
      this.defaultPolicy = policy;
      // Asked for by the old policy, verified by the new one: they may not count for either.
      for (const handshake of this.#unnamed) handshake.cut();
    } catch (error) {
      this.options.log(
        "warn",
        "tls",
        `Cannot change the default certificate: ${describe(error)}; the one before stays`,
      );
    }
  }

  #keyOfDefault(policy: ClientPolicy | undefined): string {
    return `${this.#index.default.id} ${policy?.id ?? ""}`;
  }
}

/** What one TLS connection sees of its listener. */
class TlsSite implements Site {
  /** its client is to come back on a new connection */
  retired = false;

  constructor(
    readonly listener: SocketTlsListener,
    readonly secured: Secured,
  ) {}

  get options(): SocketListenerOptions {
    return this.listener.options;
  }
  get sweeper(): Sweeper {
    return this.listener.sweeper;
  }
  get connections(): NumberedSet<ClientConnection> {
    return this.listener.connections;
  }
  get refusals(): Refusals {
    return this.listener.refusals;
  }
  get port(): number {
    return this.listener.port;
  }
  get draining(): boolean {
    return this.retired || this.listener.draining;
  }
  gone(connection: ClientConnection): void {
    this.listener.gone(connection);
  }
}

function tcp(address: ListenAddress): { readonly hostname: string; readonly port: number } {
  if ("unix" in address) throw new Error("a TLS listener needs an address and a port");
  return address;
}
