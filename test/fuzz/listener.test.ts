/** A short run of mutated bytes through the listener's own connection; `bun run fuzz --listener` runs it for longer. */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { Http1Connection } from "../../src/data/listen/http1.ts";
import type { Transport } from "../../src/data/wire/transport.ts";
import { echo, startOrigin } from "../support/origins.ts";
import { startProxy } from "../support/proxy.ts";
import { fuzzListener, newListenerTally, siteOf } from "./listener.ts";
import { readAnswers } from "./read-answers.ts";

const long = process.env.ARALEZ_LONG === "1";
const seed = long ? (Math.random() * 2 ** 31) | 0 : 20_261_121;
const inputs = long ? 1_000_000 : 20_000;

test("whatever bytes come, each accepted request gets exactly one answer, and nothing waits for ever", async () => {
  const tally = newListenerTally();
  for (let index = 0; index < inputs && tally.findings.length < 5; index++) await fuzzListener(seed, index, tally);
  expect(tally.findings).toEqual([]);
  // A fuzzer whose inputs are all refused, or all accepted, would prove nothing.
  expect(tally.accepted).toBeGreaterThan(inputs / 10);
  expect(tally.refused).toBeGreaterThan(inputs / 10);
}, 900_000);

describe("found by it", () => {
  /** @returns the requests that were answered, of a client that sends all of this and then closes its sending side */
  async function answeredBehindFin(bytes: string): Promise<string[]> {
    await using up = await startOrigin(async (request, response, self) => {
      await Bun.sleep(50);
      await echo()(request, response, self);
    });
    await using proxy = await startProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false } } } }`,
      { listener_engine: "socket" },
    );
    const text = await new Promise<string>((resolve) => {
      let all = "";
      const socket = net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
      socket.end(bytes);
      socket.on("data", (data) => (all += data.toString("latin1")));
      socket.on("error", () => {});
      socket.on("close", () => resolve(all));
      socket.on("end", () => socket.destroy());
    });
    return [...text.matchAll(/"target":"([^"]+)"/g)].map(([, target]) => target!);
  }

  test("pipelined requests of a client that closed its sending side are all answered", async () => {
    const bytes = ["/1", "/2", "/3"].map((path) => `GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`).join("");
    expect(await answeredBehindFin(bytes)).toEqual(["/1", "/2", "/3"]);
  });

  test("a request whose body lies here when its client closes its sending side is answered", async () => {
    const bytes = "POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    expect(await answeredBehindFin(bytes)).toEqual(["/up"]);
  });

  test.each([
    ["still sends", "shutdown"],
    ["has closed its sending side by then", "end"],
  ])("an answer to what is no request is written to its end, to a client that %s", (how, then) => {
    const did: string[] = [];
    let full = true;
    const transport: Transport = {
      write(data, offset = 0, length = data.length - offset) {
        did.push(full ? "write: full" : "write");
        return full ? 0 : length - offset;
      },
      pause() {},
      resume() {},
      end: () => did.push("end"),
      shutdown: () => did.push("shutdown"),
      terminate: () => did.push("terminate"),
    };
    const site = siteOf({ handle() {}, ended() {}, failed() {}, gone() {} });
    const connection = new Http1Connection(transport, "127.0.0.1", site, () => {});
    connection.data(Buffer.from("no request\r\n\r\n"));
    if (then === "end") connection.end();
    expect(did, how).toEqual(["write: full"]);
    full = false;
    connection.drain();
    expect(did).toEqual(["write: full", "write", then]);
  });
});

describe("the reader of its output", () => {
  const head = (lines: string) => `HTTP/1.1 200 OK\r\nX-Request-Id: 0\r\n${lines}\r\n`;
  test.each([
    ["a whole answer", `${head("Content-Length: 2\r\n")}ok`, 1, "", false],
    [
      "two answers",
      `${head("Content-Length: 2\r\n")}ok${head("Transfer-Encoding: chunked\r\n")}1\r\nx\r\n0\r\n\r\n`,
      2,
      "",
      false,
    ],
    ["half an answer", head("Content-Length: 2\r\n") + "o", 0, `${head("Content-Length: 2\r\n")}o`, false],
    ["both framings", head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"), 0, undefined, true],
    ["no framing on a connection that goes on", head(""), 0, undefined, true],
    ["a malformed chunk", head("Transfer-Encoding: chunked\r\n") + "x\r\n", 0, undefined, true],
    ["no head at all", "ok\r\n\r\n", 0, undefined, true],
  ] as const)("sees %s", (_, text, count, rest, problem) => {
    const output = readAnswers(text, ["GET", "GET"]);
    expect(output.answers).toHaveLength(count);
    expect(output.problem !== "").toBe(problem);
    if (rest !== undefined) expect(output.rest).toBe(rest);
  });
});
