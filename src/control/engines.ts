/** Engines: which ones the settings ask for, and how they are made. Nothing else knows more than one. */
import type { Settings } from "../config/settings.ts";
import type { Forwarder } from "../data/forward/forwarder.ts";
import { FetchForwarder } from "../data/forward/http.ts";
import { Http2Forwarder } from "../data/forward/http2-pool.ts";
import { SocketForwarder } from "../data/forward/socket.ts";
import { listenBun } from "../data/listen/bun.ts";
import type { Listener, ListenerOptions } from "../data/listen/listener.ts";
import { listenSocket } from "../data/listen/socket.ts";
import { descriptorsMax } from "../lib/descriptors.ts";
import type { PlaneOptions } from "../data/plane.ts";

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
    log,
  });
  const tunnels = new SocketForwarder({
    // What reaches the tunnels reaches all.
    http2: {
      forward: (attempt) => byHttp2.forward(attempt),
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
  options: Omit<ListenerOptions, "timeouts">,
  log: PlaneOptions["log"],
): Listener {
  const timeouts = () => {
    const { header, idle, body, write } = settings().client_timeouts;
    return { headerMs: header * 1000, idleSeconds: idle, bodyMs: body * 1000, writeMs: write * 1000 };
  };
  if (listenerEngine(settings()) === "bun") return listenBun({ ...options, timeouts });
  return listenSocket({
    ...options,
    timeouts,
    headBytesMax: settings().max_header_bytes,
    http2: settings().http2 ?? true,
    requestsMax: () => settings().keepalive_requests,
    connectionsMax: () => settings().max_connections || half,
    log,
  });
}

/** `auto` is the engine that holds every test of this release. */
function upstreamEngine({ upstream_engine }: Settings): "fetch" | "socket" {
  return upstream_engine === "fetch" ? "fetch" : "socket";
}

function listenerEngine({ listener_engine }: Settings): "bun" | "socket" {
  return listener_engine === "bun" ? "bun" : "socket";
}
