/** TLS listeners on their own, without a proxy around them: each answer tells what the listener knew. */
import type { Exchange } from "../../src/data/exchange.ts";
import type { TlsListener } from "../../src/data/listen/listener.ts";
import {
  http1,
  listenTls,
  type SocketTlsListener,
  type TlsListenerOptions,
  type TlsProtocol,
} from "../../src/data/listen/tls.ts";
import { listenBunTls } from "../../src/data/listen/tls-bun.ts";
import type { CertificateSet } from "../../src/data/tls/certificate-set.ts";
import type { ClientPolicy } from "../../src/data/tls/client-policy.ts";
import type { TlsGrade } from "../../src/data/tls/grades.ts";

export interface Wanted {
  readonly certificates: CertificateSet;
  readonly engine?: "socket" | "bun";
  readonly grade?: TlsGrade;
  readonly headerMs?: number;
  readonly connectionsMax?: number;
  readonly protocols?: readonly TlsProtocol[];
  policy?(serverName: string): ClientPolicy | undefined;
  handle?(exchange: Exchange): void;
}

export interface TestTls extends AsyncDisposable {
  readonly listener: TlsListener;
  readonly port: number;
  /** what the listener logged */
  readonly log: string[];
  /** what it called a fault of its own */
  readonly faults: unknown[];
  /** connections and handshakes under way; socket engine */
  held(): number;
}

export function startTls(wanted: Wanted): TestTls {
  const log: string[] = [];
  const faults: unknown[] = [];
  const options: TlsListenerOptions = {
    address: { hostname: "127.0.0.1", port: 0 },
    timeouts: () => ({ headerMs: wanted.headerMs ?? 10_000, idleSeconds: 75, bodyMs: 60_000, writeMs: 60_000 }),
    handle: wanted.handle ?? tell,
    ended: () => {},
    failed: (error) => void faults.push(error),
    headBytesMax: 65_536,
    requestsMax: () => 0,
    connectionsMax: () => wanted.connectionsMax ?? 0,
    log: (level, target, text) => void log.push(`${level} ${target} - ${text}`),
    certificates: wanted.certificates,
    grade: wanted.grade ?? "medium",
    protocols: wanted.protocols ?? [http1],
    policy: (name) => wanted.policy?.(name),
  };
  const listener =
    wanted.engine === "bun" ? listenBunTls({ ...options, http2: true, http3: false }) : listenTls(options);
  return {
    listener,
    port: listener.port,
    log,
    faults,
    held: () => (listener as SocketTlsListener).held,
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

function tell(exchange: Exchange): void {
  const { secure, secured, peer, localPort, authority } = exchange;
  const content = JSON.stringify({ secure, secured, peer, localPort, authority });
  exchange.reply({ status: 200, fields: [["Content-Type", "application/json"]], content, why: "" });
}
