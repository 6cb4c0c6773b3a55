/** A tunnel that takes plain connections and carries them to a TLS port: for clients that know no TLS. */
import net from "node:net";
import tls from "node:tls";

export interface TlsTunnel {
  readonly port: number;
  close(): void;
}

/** Half-closes and resets are passed on, as far as TLS has them. @param port of 127.0.0.1 */
export function startTlsTunnel(port: number): TlsTunnel {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (plain) => {
    const options = { host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] };
    const secure = tls.connect({ ...options, servername: "a.test", allowHalfOpen: true } as tls.ConnectionOptions);
    join(plain, secure);
    join(secure, plain);
    for (const socket of [plain, secure]) sockets.add(socket.on("close", () => sockets.delete(socket)));
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

function join(from: net.Socket, to: net.Socket): void {
  from.pipe(to, { end: false });
  from.on("end", () => to.end());
  from.on("error", () => to.destroy());
  from.on("close", () => to.destroy());
}
