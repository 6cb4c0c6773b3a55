/** An upstream that speaks HTTP/2 by node:http2, without TLS or with a certificate of the test's. */
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";

export interface Http2Origin extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** connections that carried a request which was no health check */
  readonly sessions: Set<http2.Http2Session>;
  /** such requests */
  requests: number;
}

export type RespondHttp2 = (stream: http2.ServerHttp2Stream, head: http2.IncomingHttpHeaders) => void;

const certs = join(import.meta.dir, "../../certs");

export async function startHttp2Origin(
  respond: RespondHttp2,
  { tls = false, settings = {} }: { readonly tls?: boolean; readonly settings?: http2.Settings } = {},
): Promise<Http2Origin> {
  const options = { settings, maxSessionMemory: 1_000 };
  const server = tls
    ? http2.createSecureServer({
        ...options,
        key: await Bun.file(join(certs, "dev.key")).text(),
        cert: await Bun.file(join(certs, "dev.crt")).text(),
      })
    : http2.createServer(options);
  const sockets = new Set<Socket>();
  server.on(tls ? "secureConnection" : "connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  server.on("sessionError", () => {});
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (it, head) => {
    const stream = it as http2.ServerHttp2Stream;
    stream.on("error", () => {});
    // The proxy's own health checks carry no X-Request-Id.
    if (head["x-request-id"] === undefined) {
      stream.respond({ ":status": 200 }, { endStream: true });
      return;
    }
    origin.sessions.add(stream.session!);
    origin.requests++;
    respond(stream, head);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const origin: Http2Origin = {
    port,
    address: `127.0.0.1:${port}`,
    sessions: new Set(),
    requests: 0,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return origin;
}
