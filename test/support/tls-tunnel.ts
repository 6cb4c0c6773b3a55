/** A tunnel that takes plain connections and carries them to a TLS port: for clients that know no TLS. */
import net from "node:net";
import tls from "node:tls";

export interface TlsTunnel {
  readonly port: number;
  close(): void;
}

/**
 * Half-closes and resets are passed on, as far as TLS has them. A client that begins with the preface of HTTP/2 gets that
 * by ALPN. @param port of 127.0.0.1
 */
export function startTlsTunnel(port: number): TlsTunnel {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (plain) => {
    sockets.add(plain.on("close", () => sockets.delete(plain)));
    peek(plain, (ALPNProtocols) => {
      const options = { host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols };
      const secure = tls.connect({ ...options, servername: "a.test", allowHalfOpen: true } as tls.ConnectionOptions);
      sockets.add(secure.on("close", () => sockets.delete(secure)));
      join(plain, secure);
      join(secure, plain);
    });
  });
  server.listen(0, "127.0.0.1");
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

const preface = "PRI * HTTP/2";
/** Who says nothing waits for the server to do something, for example to hang up. */
const silenceMs = 100;

/** Waits until the first bytes tell what the client speaks, and puts them back. */
function peek(plain: net.Socket, tell: (protocols: string[]) => void): void {
  let seen = Buffer.alloc(0);
  let told = false;
  const done = () => {
    told = true;
    clearTimeout(timer);
    plain.off("readable", look).off("end", done).off("error", done).off("close", done);
    if (seen.length > 0) plain.unshift(seen);
    tell(seen.toString("latin1").startsWith(preface.slice(0, 3)) ? ["h2", "http/1.1"] : ["http/1.1"]);
  };
  const silent = () => {
    if (!told && seen.length === 0) done();
  };
  const look = () => {
    const chunk = plain.read() as Buffer | null;
    if (chunk) seen = Buffer.concat([seen, chunk]);
    if (chunk && (seen.length >= 3 || !preface.startsWith(seen.toString("latin1")))) done();
  };
  // A process that was busy for so long hears first what came meanwhile.
  const timer = setTimeout(() => setImmediate(() => setImmediate(silent)), silenceMs);
  plain.on("readable", look).once("end", done).once("error", done).once("close", done);
}

function join(from: net.Socket, to: net.Socket): void {
  from.pipe(to, { end: false });
  from.on("end", () => to.end());
  from.on("error", () => to.destroy());
  from.on("close", () => to.destroy());
}
