/** One port, all at the same time: curl in two versions, WebSockets over both, and gRPC of all kinds. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import * as grpc from "@grpc/grpc-js";
import { tmpdir } from "node:os";
import { madeBySelf, put, temporary } from "../support/certificates.ts";
import { call, cancel, startGrpcClient, startGrpcOrigin, type EchoClient, type GrpcOrigin } from "../support/grpc.ts";
import { get, Http2Peer } from "../support/http2-peer.ts";
import { startOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { startTlsTunnel } from "../support/tls-tunnel.ts";
import * as h2 from "../../src/data/wire/http2/protocol.ts";

setDefaultTimeout(120_000);

const grpcHost = "grpc.test";

/** Answers with the version and the status alone; a body that is too short would end curl with an error. */
async function curl(args: readonly string[], url: string): Promise<string> {
  const options = [
    "-sSk",
    "--max-time",
    "60",
    "-o",
    "/dev/null",
    "-w",
    "%{http_version} %{http_code} %{size_download}",
  ];
  const child = Bun.spawn(["curl", ...options, "-H", "Host: a.test", ...args, url], { cwd: tmpdir(), stderr: "pipe" });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return (await child.exited) === 0 ? out : `${out} ${error}`;
}

/** @returns what came back, and the code of the close */
function webSocket(url: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const options = { headers: { Host: "ws.test" }, tls: { rejectUnauthorized: false } };
    const socket = new WebSocket(url, options as unknown as string[]);
    const heard: unknown[] = [];
    socket.onopen = () => socket.send("hello");
    socket.onmessage = ({ data }) => {
      heard.push(data);
      if (heard.length < 20) socket.send(`word ${heard.length}`);
      else socket.close(4_000, "enough");
    };
    socket.onclose = ({ code }) => resolve([heard.length, heard[0], heard.at(-1), code]);
    socket.onerror = (event) => reject(new Error(String((event as ErrorEvent).message)));
  });
}

/** A WebSocket over a stream (RFC 8441), by hand. */
async function webSocketOverHttp2(port: number): Promise<string> {
  await using peer = await Http2Peer.connect(port);
  await peer.frame(h2.SETTINGS);
  const lines = [...get.slice(1, 3), [":authority", "ws.test"], ["sec-websocket-version", "13"]] as const;
  peer.send(peer.headers(1, [[":method", "CONNECT"], [":protocol", "websocket"], ...lines], false));
  await until(() => peer.heads.get(1)?.[0]?.[0]?.[1] === "200", "the WebSocket to open");
  // A masked text frame with the mask 0.
  peer.send(peer.data(1, Buffer.from("\x81\x85\0\0\0\0hello", "latin1")));
  await until(() => peer.body(1).length >= 12, "the echo");
  return peer.body(1).slice(2);
}

function counted(client: EchoClient): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = client.upload((error, value) => (error ? reject(error) : resolve(value!.toString())));
    for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(10_000));
    stream.end();
  });
}

function downloaded(client: EchoClient): Promise<number> {
  return new Promise((resolve, reject) => {
    let messages = 0;
    client
      .download(Buffer.from("500"))
      .on("data", () => messages++)
      .on("error", reject)
      .on("end", () => resolve(messages));
  });
}

/** Each message goes when the one before is back. */
function talked(client: EchoClient): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const stream = client.both();
    const echoed: string[] = [];
    stream.on("data", (message: Buffer) => {
      echoed.push(message.toString());
      if (echoed.length < 20) stream.write(Buffer.from(`ping ${echoed.length}`));
      else stream.end();
    });
    stream.on("error", reject).on("end", () => resolve(echoed.at(-1)));
    stream.write(Buffer.from("ping 0"));
  });
}

async function gRpc(client: EchoClient, origin: GrpcOrigin): Promise<void> {
  const large = Buffer.alloc(10 << 20, "m");
  const [parallel, big, uploaded, messages, last, failed, code] = await Promise.all([
    Promise.all(Array.from({ length: 200 }, (_, i) => call(client, `message ${i}`))),
    call(client, large),
    counted(client),
    downloaded(client),
    talked(client),
    call(client, "fail:9"),
    cancel(client, origin),
  ]);
  expect(parallel.map(({ message }) => message?.toString())).toEqual(
    Array.from({ length: 200 }, (_, i) => `message ${i}`),
  );
  expect(parallel[0]).toMatchObject({ code: 0, head: { "x-head": "front" }, trailers: { "x-trailer": "tail" } });
  expect(big.message?.equals(large)).toBe(true);
  expect([uploaded, messages, last]).toEqual(["1000000", 500, "ping 19"]);
  expect(failed).toMatchObject({ code: 9, details: "it failed: 100 % ü", trailers: { "x-trailer": "tail" } });
  expect(code).toBe(grpc.status.CANCELLED);
  const late = await call(client, "slow", { deadline: Date.now() + 1_000 });
  expect(late.code).toBe(grpc.status.DEADLINE_EXCEEDED);
  await until(() => origin.cancelled === 2, "the deadline and the cancel to reach the server");
}

describe("one port serves them all at once", () => {
  for (const tls of [true, false]) {
    test(tls ? "with TLS, by ALPN" : "without TLS, by prior knowledge", async () => {
      await using origin = await startOrigin((_, response) => void response.end(Buffer.alloc(2_000_000, "b")));
      await using calls = await startGrpcOrigin();
      using webSockets = Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        reusePort: false,
        fetch: (request, it) => (it.upgrade(request) ? undefined : new Response("plain")),
        websocket: { message: (socket, message) => void socket.send(`echo ${message}`) },
      });
      using folder = temporary();
      const pair = madeBySelf({ names: [`DNS:${grpcHost}`], subject: `/CN=${grpcHost}` });
      put(folder.path, "site", pair);
      const route = (host: string, address: string) => `  ${host}: { paths: { "/": { servers: ["${address}"] } } }\n`;
      await using proxy = await startProxy(
        `upstreams:\n${route("a.test", origin.address)}${route("ws.test", `127.0.0.1:${webSockets.port}`)}${route(grpcHost, calls.address)}`,
        {
          listener_engine: "auto",
          upstream_engine: "auto",
          access_log: "all",
          access_log_format: "json",
          hc_interval: 5,
          ...(tls && { proxy_address_tls: { hostname: "127.0.0.1", port: 0 }, proxy_configs: folder.path }),
        },
      );
      const port = tls ? proxy.tlsPort : proxy.plainPort;
      const [http, ws] = tls ? ["https", "wss"] : ["http", "ws"];
      const tunnel = tls ? startTlsTunnel(port) : undefined;
      const client = startGrpcClient(port, grpcHost, tls ? pair.crt : undefined);
      try {
        const url = `${http}://127.0.0.1:${port}/`;
        const [old, young, overHttp1, overHttp2] = await Promise.all([
          Promise.all(Array.from({ length: 5 }, () => curl(["--http1.1"], url))),
          Promise.all(Array.from({ length: 5 }, () => curl([tls ? "--http2" : "--http2-prior-knowledge"], url))),
          Promise.all(Array.from({ length: 5 }, () => webSocket(`${ws}://127.0.0.1:${port}/`))),
          webSocketOverHttp2(tunnel?.port ?? port),
          gRpc(client, calls),
        ]);
        expect(old).toEqual(Array(5).fill("1.1 200 2000000"));
        expect(young).toEqual(Array(5).fill("2 200 2000000"));
        expect(overHttp1).toEqual(Array(5).fill([20, "echo hello", "echo word 19", 4_000]));
        expect(overHttp2).toBe("echo hello");
        proxy.running.reopenLogs();
        expect(proxy.log()).toMatch(/"proto":"HTTP\/2.0".*"status":200,"grpc_status":9,/);
        expect(proxy.log()).not.toContain("a fault of the proxy itself");
      } finally {
        client.close();
        tunnel?.close();
      }
    });
  }
});
