/** A tunnel that takes plain connections and carries them to a TLS port: for clients that know no TLS. */
import net from "node:net";
import tls from "node:tls";

export interface TlsTunnel {
  readonly port: number;
  close(): void;
}

/** What clients of HTTP/2 begin with (RFC 9113 3.4); anything less is a bad request of HTTP/1.1. */
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/** Who says nothing more for so long is connected all the same. */
const silenceMs = 50;

/**
 * Half-closes and resets are passed on, as far as TLS has them. Who begins with the preface of HTTP/2 is carried under its
 * name in ALPN, all others under that of HTTP/1.1.
 * @param port of 127.0.0.1
 */
export function startTlsTunnel(port: number): TlsTunnel {
  const sockets = new Set<net.Socket>();
  const track = <S extends net.Socket>(socket: S): S => {
    sockets.add(socket.on("close", () => sockets.delete(socket)) as S);
    return socket;
  };
  const server = net.createServer({ allowHalfOpen: true }, (plain) => {
    track(plain);
    firstBytes(plain, (head) => {
      const protocol = head.toString("latin1") === preface ? "h2" : "http/1.1";
      const options = { host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: [protocol] };
      const secure = tls.connect({ ...options, servername: "a.test", allowHalfOpen: true } as tls.ConnectionOptions);
      join(plain, track(secure));
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

/** Calls once with as many bytes as tell the protocol, fewer when no more came; they stay in the socket. */
function firstBytes(socket: net.Socket, tell: (head: Buffer) => void): void {
  let head: Buffer = Buffer.alloc(0);
  const done = () => {
    clearTimeout(timer);
    socket.off("readable", look).off("close", gone);
    if (head.length > 0) socket.unshift(head);
    tell(head.subarray(0, preface.length));
  };
  const look = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk) head = Buffer.concat([head, chunk]);
    const whole = head.length >= preface.length;
    if (whole || !preface.startsWith(head.toString("latin1"))) done();
    else timer.refresh();
  };
  const gone = () => clearTimeout(timer);
  const timer = setTimeout(done, silenceMs);
  socket.on("readable", look).on("close", gone).on("error", gone);
}

function join(from: net.Socket, to: net.Socket): void {
  from.pipe(to, { end: false });
  from.on("end", () => to.end());
  if (from.readableEnded) to.end();
  from.on("error", () => to.destroy());
  from.on("close", () => to.destroy());
}
