/** Engines: which ones the settings ask for, and how they are made. Nothing else knows more than one. */
import type { Settings } from "../config/settings.ts";
import type { Validations } from "../data/acme/validations.ts";
import type { Forwarder } from "../data/forward/forwarder.ts";
import { FetchForwarder } from "../data/forward/http.ts";
import { Http2Forwarder } from "../data/forward/http2-pool.ts";
import { SocketForwarder } from "../data/forward/socket.ts";
import { listenBun } from "../data/listen/bun.ts";
import type { Listener, ListenerOptions, TlsListener } from "../data/listen/listener.ts";
import { listenSocket, type SocketListenerOptions } from "../data/listen/socket.ts";
import { listenBunTls } from "../data/listen/tls-bun.ts";
import { http1, http2 as h2, listenTls } from "../data/listen/tls.ts";
import type { CertificateSet } from "../data/tls/certificate-set.ts";
import type { ClientPolicy } from "../data/tls/client-policy.ts";
import { tlsHooksPresent } from "../data/tls/hooks.ts";
import { descriptorsMax } from "../lib/descriptors.ts";
import { adminConnectionsMax, tcpKeepAliveProbesMax, tcpKeepAliveSecondsMax } from "../lib/limits.ts";
import type { TcpKeepAlive } from "../lib/listening-sockets.ts";
import type { Refusals } from "../data/observe/refusals.ts";
import type { PlaneOptions } from "../data/plane.ts";
import { withPrivateFiles } from "./admin/unix-socket.ts";
import { selfSigned } from "./certificates/self-signed.ts";

/** Where no number is set, clients and upstreams share 90 % of the files this process may open (contract, section 14). */
const half = Math.max(1, Math.floor((descriptorsMax() * 0.9) / 2));

export interface Forwarders {
  readonly forwarder: Forwarder;
  /** for requests that ask for another protocol: these need connections of our own; closing it closes all */
  readonly tunnels: Forwarder;
}

/** @param settings asked anew wherever a reload may change them */
export function openForwarders(settings: () => Settings, loopMark: string, log: PlaneOptions["log"]): Forwarders {
  const keepaliveSeconds = () => settings().upstream_keepalive_timeout;
  const byFetch = new FetchForwarder({ keepaliveSeconds, loopMark, log });
  const byHttp2 = new Http2Forwarder({
    loopMark,
    keepaliveMs: () => settings().upstream_keepalive_timeout * 1000,
    connectionsMax: () => settings().max_upstream_connections || half,
    elsewhere: () => tunnels,
    left: () => tunnels.placeFree(),
    log,
  });
  const tunnels: SocketForwarder = new SocketForwarder({
    // What reaches the tunnels reaches all.
    http2: {
      forward: (attempt) => byHttp2.forward(attempt),
      get count() {
        return byHttp2.count;
      },
      makeRoom: () => byHttp2.makeRoom(),
      sweep(inUse) {
        byHttp2.sweep(inUse);
        byFetch.sweep(inUse);
      },
      close() {
        byHttp2.close();
        byFetch.close();
      },
    },
    loopMark,
    idleMax: () => settings().upstream_keepalive_pool_size,
    keepaliveMs: () => settings().upstream_keepalive_timeout * 1000,
    connectionsMax: () => settings().max_upstream_connections || half,
    log,
  });
  return { forwarder: upstreamEngine(settings()) === "socket" ? tunnels : byFetch, tunnels };
}

/** @throws the error of the listener: EADDRINUSE, EACCES, … */
export function openListener(
  settings: () => Settings,
  options: OpenOptions,
  refusals: Refusals,
  log: PlaneOptions["log"],
): Listener {
  if (listenerEngine(settings()) === "bun")
    return listenBun({ ...options, timeouts: timeoutsOf(settings), keepAlive: keepAliveOf(settings()) });
  return listenSocket(socketOptions(settings, options, refusals, log));
}

export type OpenOptions = Omit<ListenerOptions, "timeouts" | "keepAlive">;

/** The kernel counts in seconds. */
function keepAliveOf(settings: Settings): TcpKeepAlive | undefined {
  const { tcp_keepalive_idle: idle, tcp_keepalive_interval: interval = 10, tcp_keepalive_count: probes = 5 } = settings;
  return idle === undefined
    ? undefined
    : {
        idleSeconds: Math.min(Math.ceil(idle), tcpKeepAliveSecondsMax),
        intervalSeconds: Math.min(Math.ceil(interval), tcpKeepAliveSecondsMax),
        probes: Math.min(probes, tcpKeepAliveProbesMax),
      };
}

function timeoutsOf(settings: () => Settings) {
  return () => {
    const { header, idle, body, write } = settings().client_timeouts;
    return { headerMs: header * 1000, idleSeconds: idle, bodyMs: body * 1000, writeMs: write * 1000 };
  };
}

function socketOptions(
  settings: () => Settings,
  options: OpenOptions,
  refusals: Refusals,
  log: PlaneOptions["log"],
): SocketListenerOptions {
  return {
    ...options,
    timeouts: timeoutsOf(settings),
    keepAlive: keepAliveOf(settings()),
    headBytesMax: settings().max_header_bytes,
    http2: settings().http2 ?? true,
    requestsMax: () => settings().keepalive_requests,
    connectionsMax: () => settings().max_connections || half,
    refusals,
    log,
  };
}

/**
 * The admin API is always on the engine that bounds its connections, and may have a few when the proxy is full.
 * @param certificates undefined = plain
 * @throws the error of the listener: EADDRINUSE, EACCES, …
 */
export async function openAdminListener(
  settings: () => Settings,
  options: OpenOptions,
  certificates: CertificateSet | undefined,
  refusals: Refusals,
  log: PlaneOptions["log"],
): Promise<Listener> {
  const own = (): Settings => {
    const most = (settings().max_connections || half) + adminConnectionsMax;
    return { ...settings(), listener_engine: "socket", http2: false, http3: false, max_connections: most };
  };
  if (!certificates) return withPrivateFiles(() => openListener(own, options, refusals, log));
  const tls = { ...options, certificates, policy: () => undefined, asksClients: false, validations: undefined };
  return (await openTlsListener(own, tls, refusals, log)).listener;
}

/** What only the TLS port needs. */
export interface TlsOpenOptions extends OpenOptions {
  readonly certificates: CertificateSet;
  /** which client certificates are asked for. @param serverName lower case; "" without SNI */
  policy(serverName: string): ClientPolicy | undefined;
  /** some host asks for client certificates, which Bun.serve hides */
  readonly asksClients: boolean;
  /** names may be proved on this port by TLS-ALPN-01, which Bun.serve cannot do either */
  readonly validations: Validations | undefined;
}

export interface OpenTls {
  readonly engine: "bun" | "socket";
  readonly listener: TlsListener;
}

/** @throws Error when client certificates are asked for and cannot be had; and the error of the listener */
export async function openTlsListener(
  settings: () => Settings,
  options: TlsOpenOptions,
  refusals: Refusals,
  log: PlaneOptions["log"],
): Promise<OpenTls> {
  const { listener_engine, http2 = true, http3 = false, proxy_tls_grade: grade = "medium" } = settings();
  const { certificates, policy, asksClients, validations, ...given } = options;
  if (asksClients && listener_engine === "bun")
    throw new Error("`client_ca` needs `listener_engine: socket`: Bun.serve hides client certificates");
  // QUIC is Bun.serve's alone, client certificates are the socket engine's.
  const engine =
    listener_engine === "bun" || (listener_engine === "auto" && http3 && !asksClients && !validations)
      ? "bun"
      : "socket";
  if (engine === "bun" && http3) log("info", "tls", "http3: the TLS port is served by Bun.serve");
  if (engine === "socket" && (await tlsHooksPresent(selfSigned(["localhost"], Date.now())))) {
    if (http3) log("warn", "tls", `\`http3\` has no effect with ${asksClients ? "`client_ca`" : "the socket engine"}`);
    const protocols = http2 ? [h2, http1] : [http1];
    const common = socketOptions(settings, given, refusals, log);
    return { engine, listener: listenTls({ ...common, certificates, policy, grade, protocols, validations }) };
  }
  if (engine === "socket") {
    const missing = `this Bun (${Bun.version}) lacks what the socket engine needs for TLS`;
    if (asksClients) throw new Error(`${missing}, and \`client_ca\` works on no other engine`);
    log("warn", "tls", `${missing}: the TLS port is served by Bun.serve`);
  }
  const timeouts = timeoutsOf(settings);
  return {
    engine: "bun",
    listener: listenBunTls({
      ...given,
      timeouts,
      keepAlive: keepAliveOf(settings()),
      certificates,
      grade,
      http2,
      http3,
      log,
    }),
  };
}

/** `auto` is the engine that holds every test of this release. */
function upstreamEngine({ upstream_engine }: Settings): "fetch" | "socket" {
  return upstream_engine === "fetch" ? "fetch" : "socket";
}

function listenerEngine({ listener_engine }: Settings): "bun" | "socket" {
  return listener_engine === "bun" ? "bun" : "socket";
}
