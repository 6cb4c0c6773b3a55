/** gRPC through the proxy without a line of configuration: grpc-js as client and as server, without TLS. */
import { describe, expect, test } from "bun:test";
import * as grpc from "@grpc/grpc-js";
import { startHttp2Origin } from "../support/http2-origin.ts";
import { call, cancel, startGrpcClient, startGrpcOrigin, type GrpcOrigin } from "../support/grpc.ts";
import { deadPort, startOrigin } from "../support/origins.ts";
import { startPatientProxy, startProxy, until, type TestProxy } from "../support/proxy.ts";

const host = "grpc.test";

async function startBoth(extra = "") {
  const origin = await startGrpcOrigin();
  const proxy = await startPatientProxy(
    `upstreams: { ${host}: { paths: { "/": { servers: ["${origin.address}"] ${extra} } } } }\n`,
    {
      listener_engine: "socket",
      upstream_engine: "socket",
    },
  );
  const client = startGrpcClient(proxy.plainPort, host);
  return {
    origin,
    proxy,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await proxy[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  } satisfies { origin: GrpcOrigin; proxy: TestProxy } & Record<string, unknown> & AsyncDisposable;
}

describe("calls", () => {
  test("unary: message, metadata both ways, trailers", async () => {
    await using both = await startBoth();
    const metadata = new grpc.Metadata();
    metadata.set("x-from", "client");
    metadata.set("x-raw-bin", Buffer.from([0, 1, 255]));
    const answer = await call(both.client, "hello", {}, metadata);
    expect(answer).toMatchObject({ code: 0, head: { "x-head": "front" }, trailers: { "x-trailer": "tail" } });
    expect(answer.message!.toString()).toBe("hello");
    expect(both.origin.metadata).toMatchObject({ "x-from": "client", "x-real-ip": "127.0.0.1" });
    expect(both.origin.metadata["x-raw-bin"]).toEqual(Buffer.from([0, 1, 255]));
  });

  test("200 unary calls at once, and a message of 10 MB", async () => {
    await using both = await startBoth();
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => call(both.client, `n${i}`)));
    expect(answers.map(({ code, message }) => `${code} ${message}`)).toEqual(answers.map((_, i) => `0 n${i}`));
    const large = Buffer.alloc(10 << 20, "x");
    const answer = await call(both.client, large);
    expect(answer.code).toBe(0);
    expect(answer.message!.equals(large)).toBe(true);
  });

  test("client streaming, server streaming, both at once", async () => {
    await using both = await startBoth();
    const counted = await new Promise<string>((resolve, reject) => {
      const stream = both.client.upload((error, value) => (error ? reject(error) : resolve(value!.toString())));
      for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(10_000));
      stream.end();
    });
    expect(counted).toBe("1000000");

    const messages: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const stream = both.client.download(Buffer.from("500"));
      stream.on("data", (message: Buffer) => messages.push(message.toString()));
      stream.on("error", reject).on("end", resolve);
    });
    expect(messages).toEqual(Array.from({ length: 500 }, (_, i) => `message ${i}`));

    const echoed: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const stream = both.client.both();
      stream.on("data", (message: Buffer) => {
        echoed.push(message.toString());
        // The next one goes only when this one is back: nothing may wait for the stream's end.
        if (echoed.length < 20) stream.write(Buffer.from(`ping ${echoed.length}`));
        else stream.end();
      });
      stream.on("error", reject).on("end", resolve);
      stream.write(Buffer.from("ping 0"));
    });
    expect(echoed).toEqual(Array.from({ length: 20 }, (_, i) => `ping ${i}`));
  });
});

describe("ends", () => {
  test("an error status comes with its details and trailers", async () => {
    await using both = await startBoth();
    const answer = await call(both.client, "fail:9");
    expect(answer).toMatchObject({ code: 9, details: "it failed: 100 % ü", trailers: { "x-trailer": "tail" } });
  });

  test("a deadline ends the call on the client, and reaches the server", async () => {
    await using both = await startBoth();
    const answer = await call(both.client, "slow", { deadline: Date.now() + 500 });
    expect(answer.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    await until(() => both.origin.cancelled === 1);
  });

  test("the proxy itself ends a call whose deadline has passed, where neither client nor server does", async () => {
    let reset = 0;
    await using origin = await startHttp2Origin((stream) => {
      stream.on("close", () => (reset = stream.rstCode));
    });
    await using proxy = await startProxy(
      `upstreams: { ${host}: { healthcheck: false, paths: { "/": { servers: [{ address: "${origin.address}", protocol: h2c }] } } } }\n`,
      { listener_engine: "socket", upstream_engine: "socket" },
    );
    const client = startGrpcClient(proxy.plainPort, host);
    const metadata = new grpc.Metadata();
    metadata.set("grpc-timeout", "300m");
    const answer = await call(client, "x", {}, metadata);
    client.close();
    expect(answer).toMatchObject({
      code: grpc.status.DEADLINE_EXCEEDED,
      details: "the deadline of the call has passed",
    });
    await until(() => reset !== 0);
  });

  test("a cancel reaches the server", async () => {
    await using both = await startBoth();
    expect(await cancel(both.client, both.origin)).toBe(grpc.status.CANCELLED);
    await until(() => both.origin.cancelled === 1);
  });

  test("a server that dies inside a call is told as UNAVAILABLE", async () => {
    await using both = await startBoth();
    const stream = both.client.both();
    const status = new Promise<number>((resolve) => stream.on("status", ({ code }) => resolve(code)));
    stream.on("error", () => {});
    stream.write(Buffer.from("x"));
    await new Promise((resolve) => stream.once("data", resolve));
    await both.origin[Symbol.asyncDispose]();
    expect(await status).toBe(grpc.status.UNAVAILABLE);
  });
});

describe("our own errors are gRPC statuses", () => {
  test("no route, a server that is down, an upstream timeout, a refusal", async () => {
    await using origin = await startGrpcOrigin();
    await using closed = await startOrigin();
    const rules = (extra: string) => `
upstreams:
  dead.test: { healthcheck: false, paths: { "/": { servers: [{ address: "127.0.0.1:${extra}", protocol: h2c }] } } }
  slow.test: { timeouts: { stream: 0.3 }, paths: { "/": { servers: ["${origin.address}"] } } }
  locked.test: { paths: { "/": { servers: ["${closed.address}"], authorization: { type: basic, creds: "a:b" } } } }
`;
    await using proxy = await startProxy(rules(String(await deadPort())), {
      listener_engine: "socket",
      upstream_engine: "socket",
    });
    const ask = async (authority: string, message: string) => {
      const client = startGrpcClient(proxy.plainPort, authority);
      const { code } = await call(client, message);
      client.close();
      return code;
    };
    expect(await ask("nobody.test", "x")).toBe(grpc.status.UNIMPLEMENTED);
    expect(await ask("dead.test", "x")).toBe(grpc.status.UNAVAILABLE);
    expect(await ask("slow.test", "slow")).toBe(grpc.status.DEADLINE_EXCEEDED);
    expect([grpc.status.UNAUTHENTICATED, grpc.status.UNAVAILABLE]).toContain(await ask("locked.test", "x"));
  });
});
