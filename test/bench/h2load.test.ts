/** The TLS scenarios: h2load's words are read and doubted, its origin answers, and who does not do the work is found out. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "../../bench/ask.ts";
import { listenH2c } from "../../bench/h2c-origin.ts";
import { faults, parseH2load } from "../../bench/load/h2load-output.ts";
import { h2loadRequest } from "../../bench/load/h2load.ts";
import { checkResumption } from "../../bench/resumption.ts";
import { scenarios } from "../../bench/scenarios.ts";
import { grpcMessage, grpcPath, smallBody } from "../../bench/site.ts";
import { checkWork } from "../../bench/work.ts";
import { madeBySelf } from "../support/certificates.ts";

const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

const h2 = "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 h2";

describe("readings", () => {
  const output = `TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2

finished in 706.19ms, 14160.60 req/s, 2.05MB/s
requests: 1000 total, 1000 started, 1000 done, 990 succeeded, 10 failed, 7 errored, 2 timeout
status codes: 990 2xx, 0 3xx, 0 4xx, 10 5xx
traffic: 1.45MB (1518480) total, 1.03MB (1079950) headers (space savings 0.00%), 48.83KB (50000) data
`;

  test("h2load's report: time in any unit, what succeeded, the bytes of bodies, and how it was spoken", () => {
    const expected = { succeeded: 990, failed: 10, dataBytes: 50_000, spoken: h2 };
    const { seconds, ...rest } = parseH2load(output);
    expect(seconds).toBeCloseTo(0.70619, 9);
    expect(rest).toEqual(expected);
    expect(parseH2load(output.replace("706.19ms", "2.00s")).seconds).toBe(2);
    expect(parseH2load(output.replace(/^TLS[^]*: h2$/m, "")).spoken).toBe("");
    expect(() => parseH2load("unable to connect")).toThrow("expected /^finished in");
  });

  test("answers without their bodies, another cipher and failures are errors; a body under way is none", () => {
    const scenario = scenarios["h2-10"]!;
    const report = { seconds: 1, succeeded: 1000, failed: 0, dataBytes: 1000 * smallBody.length, spoken: h2 };
    expect(faults(report, scenario)).toEqual({ errors: 0 });
    expect(faults({ ...report, dataBytes: report.dataBytes + 3 * smallBody.length }, scenario)).toEqual({ errors: 0 });
    expect(faults({ ...report, dataBytes: report.dataBytes - 1 }, scenario)).toMatchObject({ errors: 1000 });
    expect(faults({ ...report, dataBytes: 2 * report.dataBytes }, scenario)).toMatchObject({ errors: 1000 });
    expect(faults({ ...report, failed: 3 }, scenario)).toEqual({ errors: 3, why: "3 failed" });
    const weak = { ...report, spoken: h2.replace("AES_128_GCM_SHA256", "AES_256_GCM_SHA384") };
    expect(faults(weak, scenario)).toMatchObject({ errors: 1000, why: expect.stringContaining("AES_256") });
    // HTTP/2 where HTTP/1.1 is measured.
    expect(faults(report, scenarios.tls!)).toMatchObject({ errors: 1000 });
  });
});

test("what h2load is asked to do follows from the scenario", () => {
  const of = (name: string) => {
    const rest = { seconds: 1, cores: "0", folder: "/tmp", signal: new AbortController().signal };
    return h2loadRequest({ port: 65_001, scenario: { ...scenarios[name]!, grpc: false }, ...rest });
  };
  expect(of("tls")).toContain("--h1");
  expect(of("h2-10")).not.toContain("--h1");
  for (const name of ["tls", "h2-10"]) {
    expect(of(name)).toContain("--tls13-ciphers=TLS_AES_128_GCM_SHA256");
    expect(of(name).at(-1)).toBe("https://host-24.bench.test/service-4/v1/small");
  }
  expect(of("h2-h2c").at(-1)).toStartWith("https://h2c.bench.test/");
  expect(of("small").at(-1)).toStartWith("http://host-24.bench.test/");
});

describe("the HTTP/2 origin", () => {
  test("answers the small JSON, shows what it saw, and gRPC with trailers, many at a time", async () => {
    const origin = listenH2c(0);
    closing.push(origin.stop);
    const session = http2.connect(`http://127.0.0.1:${origin.port}`);
    closing.push(() => session.destroy());
    const small = await Promise.all(
      Array.from({ length: 500 }, () => exchange(session, { ":path": "/service-4/v1/small" })),
    );
    expect(new Set(small.map(({ body }) => String(body)))).toEqual(new Set([smallBody]));
    const seen = await exchange(session, {
      ":path": "/x/seen",
      ":authority": "h2c.bench.test",
      "x-real-ip": "192.0.2.1",
    });
    expect(JSON.parse(String(seen.body))).toMatchObject({ Host: "h2c.bench.test", "X-Real-IP": "192.0.2.1" });
    const head = { ":path": grpcPath, "content-type": "application/grpc", te: "trailers" };
    const calls = await Promise.all(
      Array.from({ length: 500 }, () => exchange(session, head, new Uint8Array(grpcMessage))),
    );
    for (const { body, fields } of calls) {
      expect(String(body)).toBe(String(grpcMessage));
      expect(fields).toMatchObject({ ":status": 200, "content-type": "application/grpc", "grpc-status": "0" });
    }
  });
});

describe("the work", () => {
  test("whoever answers rightly but does not edit the header lines is found out, over HTTP/2 too", async () => {
    const { crt, key } = madeBySelf({ names: ["DNS:*.bench.test"] });
    const server = http2.createSecureServer({ cert: crt, key });
    server.on("stream", (it) => {
      const stream = it as http2.ServerHttp2Stream;
      stream.respond({ ":status": 200, "content-type": "application/json" });
      stream.end(smallBody);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closing.push(() => server.close());
    const { port } = server.address() as { port: number };
    const door = { port, tls: true, http2: true };
    const answer = await ask(door, { host: "host-24.bench.test", target: "/small" });
    expect([answer.status, String(answer.bytes)]).toEqual([200, smallBody]);
    await expect(checkWork(door, "lazy", {})).rejects.toThrow(
      'lazy does not do the work it is measured at: the answer\'s X-Content-Type-Options is "null", expected "nosniff"',
    );
    const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: (socket) => void socket.end() } });
    closing.push(() => silent.stop(true));
    await expect(checkWork({ ...door, port: silent.port }, "silent", {})).rejects.toThrow(
      "silent does not answer at host-24",
    );
  });
});

test("a contender whose second connection is not resumed is named", async () => {
  const folder = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
  closing.push(() => rmSync(folder, { recursive: true, force: true }));
  const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: (socket) => void socket.end() } });
  closing.push(() => silent.stop(true));
  await expect(checkResumption(silent.port, "forgetful", folder)).rejects.toThrow(
    'forgetful does not resume TLS sessions: expected "Reused, TLSv1.3"',
  );
});

async function exchange(
  session: http2.ClientHttp2Session,
  head: http2.OutgoingHttpHeaders,
  body?: Uint8Array<ArrayBuffer>,
) {
  const stream = session.request({ ":method": body ? "POST" : "GET", ...head });
  const fields: Record<string, unknown> = {};
  stream.on("response", (lines) => void Object.assign(fields, lines));
  stream.on("trailers", (lines) => void Object.assign(fields, lines));
  stream.end(body);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return { body: Buffer.concat(chunks), fields };
}
