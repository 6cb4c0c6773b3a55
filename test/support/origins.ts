/** Upstream servers for tests, on free loopback ports. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import net from "node:net";

export interface Origin extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** requests seen that were not health checks */
  readonly requests: Seen[];
  /** TCP connections accepted */
  connections: number;
  /** health checks seen */
  checks: number;
  close(): Promise<void>;
}

export interface Seen {
  readonly method: string;
  readonly target: string;
  /** name, value, name, value, … as they came */
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** What an origin answers; the default is {@link echo}. */
export type Respond = (request: IncomingMessage, response: ServerResponse, origin: Origin) => void | Promise<void>;

/**
 * A node:http server (exact target and field lines). HEAD requests without X-Request-Id are health checks: counted apart.
 * @param port 0 = a free one
 */
export async function startOrigin(respond: Respond = echo(), port = 0): Promise<Origin> {
  const server: Server = createServer((request, response) => {
    if (isCheck(request)) {
      origin.checks++;
      response.end();
      return;
    }
    // A request cut by the proxy ends its handler with an error; that is what such tests are about.
    Promise.resolve(respond(request, response, origin)).catch(() => response.destroy());
  });
  server.on("connection", () => origin.connections++);
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  const actual = (server.address() as AddressInfo).port;
  const origin: Origin = {
    port: actual,
    address: `127.0.0.1:${actual}`,
    requests: [],
    connections: 0,
    checks: 0,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    [Symbol.asyncDispose]: () => origin.close(),
  };
  return origin;
}

/** The proxy's own health checks carry no X-Request-Id. */
export function isCheck(request: IncomingMessage): boolean {
  return request.method === "HEAD" && request.headers["x-request-id"] === undefined;
}

/** Answers what it saw as JSON, under a name. */
export function echo(name = "origin"): Respond {
  return async (request, response, origin) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const seen: Seen = {
      method: request.method!,
      target: request.url!,
      rawHeaders: request.rawHeaders,
      headers: request.headers,
      body,
    };
    origin.requests.push(seen);
    response.setHeader("Content-Type", "application/json");
    response.setHeader("X-Origin", name);
    response.end(
      JSON.stringify({ name, method: seen.method, target: seen.target, headers: seen.headers, body: body.toString() }),
    );
  };
}

/** A TCP server that speaks by hand: for answers no HTTP library would send. */
export async function startRawOrigin(
  onData: (socket: net.Socket, data: Buffer) => void,
): Promise<{ port: number; address: string } & AsyncDisposable> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("data", (data) => onData(socket, data as Buffer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A port that nothing listens on (it was free a moment ago). */
export async function deadPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
