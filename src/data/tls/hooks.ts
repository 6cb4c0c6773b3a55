/**
 * Hooks: what `Bun.listen` can do with TLS beyond its documentation, all of it node:net's and node:tls's own way in:
 * `serverName` chooses the context while the handshake waits, `setVerifyMode` asks one client for a certificate, the
 * default context changes in place. {@link tlsHooksPresent} proves them at start.
 */
import { createSecureContext, createServer, type SecureContextOptions } from "node:tls";
import type { ContextOptions, NativeContext } from "./contexts.ts";
import type { CertificatePair } from "./certificate-set.ts";

/** A socket of a TLS listener, with what the types of Bun 1.4.4 do not know. */
export interface HookedSocket<Data> extends Bun.Socket<Data> {
  /** Lets a handshake go on that `serverName` has suspended. @param refuse an alert instead */
  resumeSNI(context: NativeContext | undefined, refuse: boolean): void;
  setVerifyMode(request: boolean, reject: boolean): void;
  isSessionReused(): boolean;
}

export interface HookedHandler<Data> extends Bun.SocketHandler<Data> {
  /** @returns true to suspend the handshake, a context, or undefined for the default one. Not called without SNI. */
  serverName(listenerData: unknown, name: string, socket: HookedSocket<Data>): true | NativeContext | undefined;
}

export interface HookedOptions<Data> {
  readonly hostname: string;
  readonly port: number;
  /** with other processes */
  readonly sharesPort?: boolean | undefined;
  readonly tls: ContextOptions & {
    readonly minVersion: number;
    readonly maxVersion: number;
    /** in wire form: each name behind its length */
    readonly ALPNProtocols: string;
  };
  readonly socket: HookedHandler<Data>;
}

/** @throws the error of Bun.listen: EADDRINUSE, EACCES, … */
export function listenHooked<Data>({ sharesPort, ...options }: HookedOptions<Data>): Bun.TCPSocketListener<Data> {
  // BUN(1.4.4): the types know neither the hook nor the numeric versions; remove when they do.
  return Bun.listen<Data>({
    allowHalfOpen: true,
    ...(sharesPort ? { reusePort: true } : { exclusive: true }),
    ...options,
  } as unknown as Bun.TCPSocketListenOptions<Data>);
}

/**
 * BUN(1.4.4): a listener's own default context changes only by way of node:tls; remove when `reload` takes `tls`. Whom the
 * listener asks for a certificate is lost with it, so {@link HookedSocket.setVerifyMode} must say it on each socket.
 * @throws Error when the pair cannot be used; the old one stays
 */
export function setDefaultContext(
  listener: Bun.TCPSocketListener<never>,
  options: ContextOptions & { readonly minVersion: number },
): void {
  const server = createServer();
  Object.assign(server, { _handle: listener });
  // The versions of all names come from here; node:tls wants them by name.
  const minVersion = options.minVersion < 0x0303 ? "TLSv1" : "TLSv1.2";
  server.setSecureContext({ ...options, minVersion, maxVersion: "TLSv1.3" } as SecureContextOptions);
}

/** ALPN names as they stand in a ClientHello (RFC 7301 3.1). */
export function wireNames(names: readonly string[]): string {
  return names.map((name) => String.fromCharCode(name.length) + name).join("");
}

/** By these two the test tells one context from another with a single certificate. */
const suites = { first: "AES256-GCM-SHA384", second: "CHACHA20-POLY1305" } as const;
const probeName = "hooks.invalid";
const probeMs = 3_000;

/**
 * Proves on loopback that the hooks do what the listener builds on: a suspended handshake goes on with a context of its
 * own, ALPN is told, and the default context changes in place.
 * @param pair one of our own making: a key on P-521, which clients may have, would make this client leave
 */
export async function tlsHooksPresent(pair: Pick<CertificatePair, "certPem" | "keyPem">): Promise<boolean> {
  let asked = "";
  const told: (string | false | null)[] = [];
  const context = (suite: string): ContextOptions => ({
    key: [pair.keyPem],
    cert: [pair.certPem],
    ciphers: `ECDHE-ECDSA-${suite}:ECDHE-RSA-${suite}`,
    secureOptions: 0,
  });
  const [first, second] = [context(suites.first), context(suites.second)];
  let listener: Bun.TCPSocketListener<never> | undefined;
  try {
    const other = createSecureContext(second as SecureContextOptions).context as NativeContext;
    listener = listenHooked<never>({
      hostname: "127.0.0.1",
      port: 0,
      tls: { ...first, minVersion: 0x0303, maxVersion: 0x0303, ALPNProtocols: wireNames(["http/1.1"]) },
      socket: {
        serverName(_, name, socket) {
          if (name !== probeName) return undefined;
          asked = name;
          socket.setVerifyMode(true, false);
          setImmediate(() => socket.resumeSNI(other, false));
          return true;
        },
        handshake: (socket) => void told.push(socket.alpnProtocol),
        data() {},
      },
    });
    const named = await suiteOf(listener.port, probeName);
    const before = await suiteOf(listener.port, "other.invalid");
    setDefaultContext(listener, { ...second, minVersion: 0x0303 });
    const after = await suiteOf(listener.port, "other.invalid");
    return (
      asked === probeName &&
      named.endsWith(suites.second) &&
      before.endsWith(suites.first) &&
      after.endsWith(suites.second) &&
      told.length === 3 &&
      told.every((name) => name === "http/1.1")
    );
  } catch {
    return false;
  } finally {
    listener?.stop(true);
  }
}

/** The suite that a client gets; "" without a connection. */
function suiteOf(port: number, serverName: string): Promise<string> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, probeMs, "");
    const done = (suite: string) => {
      clearTimeout(timer);
      resolve(suite);
    };
    const tls = {
      rejectUnauthorized: false,
      maxVersion: 0x0303,
      ALPNProtocols: wireNames(["http/1.1"]),
      serverName,
    };
    void Bun.connect({
      hostname: "127.0.0.1",
      port,
      tls: tls as Bun.TLSOptions,
      socket: {
        handshake(socket) {
          done(socket.getCipher().name ?? "");
          socket.end();
        },
        data() {},
        close: () => done(""),
        connectError: () => done(""),
      },
    }).catch(() => done(""));
  });
}
