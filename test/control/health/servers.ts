/** Servers to be asked: plain, TLS, HTTP/2, silent, dying. All on 127.0.0.1, all closed by `closeServers`. */
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import type { Probe } from "../../../src/data/upstream/endpoint.ts";

export const certificateFile = join(import.meta.dir, "certs/up.test.crt");
export const pair = {
  cert: readFileSync(certificateFile),
  key: readFileSync(join(import.meta.dir, "certs/up.test.key")),
};

const open: (() => void)[] = [];

/** Every connection a server has open right now. */
export interface Origin {
  readonly address: { host: string; port: number };
  /** connections accepted so far */
  accepted: number;
  readonly connections: Set<net.Socket>;
  close(): Promise<void>;
}

type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void;

/** @param port to come back on a known port */
export function listen(server: net.Server, port = 0): Promise<Origin> {
  const connections = new Set<net.Socket>();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const origin: Origin = {
        address: { host: "127.0.0.1", port: (server.address() as net.AddressInfo).port },
        accepted: 0,
        connections,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            for (const socket of connections) socket.destroy();
          }),
      };
      server.on("connection", (socket: net.Socket) => {
        origin.accepted++;
        connections.add(socket);
        socket.on("error", () => {});
        socket.once("close", () => connections.delete(socket));
      });
      open.push(() => void origin.close());
      resolve(origin);
    });
  });
}

export const answer200: Answer = (_request, response) => void response.end("hello");

export const plain = (answer: Answer = answer200, port = 0) => listen(http.createServer(answer), port);
export const secure = (answer: Answer = answer200) => listen(https.createServer(pair, answer));
export const h2Only = () => listen(http2.createSecureServer(pair, (_request, response) => response.end("hello")));
export const h2AndH1 = () =>
  listen(http2.createSecureServer({ ...pair, allowHTTP1: true }, (_request, response) => response.end("hello")));
export const h2c = (answer: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void) =>
  listen(http2.createServer(answer));
/** Bytes in, bytes out. */
export const raw = (talk: (socket: net.Socket) => void) => listen(net.createServer(talk));
export const rawTls = (options: tls.TlsOptions, talk: (socket: tls.TLSSocket) => void) =>
  listen(tls.createServer({ ...pair, ...options }, talk));
/** Takes connections, says nothing. */
export const silent = () => raw((socket) => void socket.resume());
export const closing = () => raw((socket) => socket.destroy());

/** Passes bytes on, so that connections to a TLS server can be counted: Bun's TLS servers show them after the handshake. */
export const relay = (to: Origin) =>
  raw((socket) => {
    const upstream = net.connect(to.address);
    upstream.on("error", () => socket.destroy());
    socket.on("close", () => upstream.destroy());
    upstream.on("close", () => socket.destroy());
    socket.pipe(upstream).pipe(socket);
  });

/** A port nobody listens on. */
export async function refused(): Promise<{ host: string; port: number }> {
  const origin = await silent();
  await origin.close();
  return origin.address;
}

export function closeServers(): void {
  for (const close of open.splice(0)) close();
}

/** Waits for a fact. */
export async function until(fact: () => boolean, what: string, boundMs = 15_000): Promise<void> {
  const endMs = performance.now() + boundMs;
  while (!fact()) {
    if (performance.now() > endMs) throw new Error(`waited ${boundMs} ms in vain until ${what}`);
    await Bun.sleep(5);
  }
}

export function probe(changes: Partial<Probe> = {}): Probe {
  return {
    protocol: "auto",
    method: "HEAD",
    path: "/",
    host: "up.test",
    serverName: "up.test",
    verify: false,
    caFile: undefined,
    expect: [[200, 499]],
    intervalMs: 50,
    timeoutMs: 2_000,
    rise: 2,
    fall: 3,
    ...changes,
  };
}
