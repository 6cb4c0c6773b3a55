/** A proxy's duties (RFC 9110 7.6, 9112) against clients and upstreams that use them: bytes in, bytes out, default engines. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { interimAnswersMax } from "../../src/lib/limits.ts";
import { answering, finalAnswer, isAnswered, isWhole, ok, startStage, startTalk } from "../peers/fidelity-bench.ts";
import { startProxy, until, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

let stage: Awaited<ReturnType<typeof startStage>>;
let proxy: TestProxy;
let trusting: TestProxy;

beforeAll(async () => {
  stage = await startStage();
  const rules = `upstreams: { a.test: { paths: { "/": { healthcheck: false, max_fails: 0, retries: 0, servers: ["${stage.address}"] } } } }`;
  proxy = await startProxy(rules);
  trusting = await startProxy(rules, { trusted_proxies: ["loopback"] });
});

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await trusting?.[Symbol.asyncDispose]();
  await stage?.[Symbol.asyncDispose]();
});

const get = (lines = "", first = "GET / HTTP/1.1") => `${first}\r\nHost: a.test\r\n${lines}\r\n`;

/** Sends a request through. @returns the head that went upstream; "" when none did */
async function sentUp(request: string, by = proxy): Promise<string> {
  stage.play(answering(ok));
  using talk = await startTalk(by.port);
  talk.write(request);
  await talk.until(isAnswered);
  return stage.heard.slice(0, stage.heard.indexOf("\r\n\r\n") + 2);
}

const namesIn = (head: string) =>
  head
    .split("\r\n")
    .slice(1)
    .map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
const linesIn = (head: string, name: string) =>
  head.split("\r\n").filter((line) => line.toLowerCase().startsWith(`${name}:`));

describe("TE", () => {
  test.each([
    ["TE: trailers\r\nConnection: TE\r\n", ["TE: trailers"]],
    ["TE: gzip;q=0.5, trailers\r\nTE: deflate\r\nConnection: TE\r\n", ["TE: trailers"]],
    ["TE: gzip, chunked\r\nConnection: TE\r\n", []],
    ["TE: x-trailers, trailersx\r\nConnection: TE\r\n", []],
    ["TE: \r\nConnection: TE\r\n", []],
  ])("%j becomes %j, never anything else", async (lines, expected) => {
    const head = await sentUp(get(lines));
    expect(linesIn(head, "te")).toEqual(expected);
    expect(linesIn(head, "connection")).toEqual(expected.length > 0 ? ["Connection: TE"] : []);
  });
});

/** What lies behind the last chunk. */
const trailersOf = (text: string) => /\r\n0\r\n([\s\S]*)\r\n$/.exec(text)?.[1] ?? "no end";

const frames = ["Content-Length: 9", "Transfer-Encoding: gzip", "Trailer: X", "TE: trailers", "Connection: close"];
const routes = ["Host: b.test", "Forwarded: for=6.6.6.6", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6"];
const says = ["X-Request-Id: evil", "CDN-Loop: evil", "X-Forwarded-Proto: https", "X_Real_IP: 6.6.6.6", "X_Y: z"];
const authenticates = ["Authorization: Basic eA==", "Cookie: a=b", "Proxy-Authorization: Basic eA=="];
const controls = [
  "Expect: 100-continue",
  "Max-Forwards: 0",
  "Cache-Control: no-store",
  "Upgrade: h2c",
  "Keep-Alive: 1",
];
const answers = [
  "Set-Cookie: a=b",
  "Location: https://evil.test",
  "WWW-Authenticate: Basic",
  "Content-Type: text/html",
];
const content = ["Content-Encoding: gzip", "Content-Range: bytes 0-1/2"];

describe("trailers", () => {
  const ownRules = [...frames, ...routes, ...says, ...authenticates, ...controls, ...content];
  const chunked = (trailers: readonly string[]) =>
    `2\r\nhi\r\n0\r\n${trailers.map((line) => `${line}\r\n`).join("")}\r\n`;

  test("of a request that frame, route, authenticate or say who asks stay behind; others go on", async () => {
    stage.play(answering(ok));
    using talk = await startTalk(proxy.port);
    const lines = ["X-Sum: 42", ...ownRules, ...ownRules.map((line) => line.toUpperCase()), "grpc-status: 0"];
    talk.write(get("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.1") + chunked(lines));
    await talk.until(isAnswered);
    expect(talk.heard.text).toStartWith("HTTP/1.1 200 ");
    expect(trailersOf(stage.heard)).toBe("X-Sum: 42\r\ngrpc-status: 0\r\n");
  });

  // Whatever is removed from heads because an upstream believes it must not arrive behind a body.
  test.each(["Proxy: http://evil", "Client-Cert: :eA==:", "X-Client-Subject: CN=root", "Range: bytes=0-1"])(
    "of a request that say %s stay behind",
    async (line) => {
      stage.play(answering(ok));
      using talk = await startTalk(proxy.port);
      talk.write(get("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.1") + chunked([line]));
      await talk.until(isAnswered);
      expect(trailersOf(stage.heard)).toBe("");
    },
  );

  test("of an answer likewise", async () => {
    const lines = ["X-Sum: 42", ...frames, ...answers, ...content, ...answers.map((line) => line.toLowerCase())];
    stage.play(answering(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(lines)}`));
    using talk = await startTalk(proxy.port);
    talk.write(get("TE: trailers\r\nConnection: TE\r\n"));
    await talk.until(isAnswered);
    expect(trailersOf(talk.heard.text)).toBe("X-Sum: 42\r\n");
  });

  test("of an answer never reach a client of HTTP/1.0, nor does its chunking", async () => {
    stage.play(answering(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(["X-Sum: 42"])}`));
    using talk = await startTalk(proxy.port);
    talk.write(get("", "GET / HTTP/1.0"));
    await talk.until(() => false);
    const { head, body } = finalAnswer(talk.heard.text);
    expect(head.toLowerCase()).not.toContain("transfer-encoding");
    expect([body, talk.heard.ended]).toEqual(["hi", "end"]);
  });
});

describe("interim answers", () => {
  const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

  test("in a reasonable number are passed on in their order, hop-by-hop fields left behind", async () => {
    const processing = "HTTP/1.1 102 Processing\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n";
    stage.play(answering(hint + processing + hint + ok));
    using talk = await startTalk(proxy.port);
    talk.write(get());
    await talk.until(isAnswered);
    expect(talk.heard.text).toStartWith(`${hint}HTTP/1.1 102 Processing\r\n\r\n${hint}HTTP/1.1 200 OK\r\n`);
  });

  const heardOf = async (): Promise<string> => {
    using talk = await startTalk(proxy.port);
    talk.write(get());
    await talk.until((text) => finalAnswer(text).head !== "");
    return talk.heard.text;
  };

  test("without end are a bad answer", async () => {
    stage.play((socket, said) => {
      if (isWhole(said)) socket.write(hint.repeat(10_000));
    });
    const heard = await heardOf();
    expect(finalAnswer(heard).head).toStartWith("HTTP/1.1 502 ");
    expect((heard.match(/HTTP\/1\.1 103/g) ?? []).length).toBeLessThanOrEqual(interimAnswersMax);
  });

  test("without end that come one by one are a bad answer too", async () => {
    stage.play(async (socket, said) => {
      if (!isWhole(said)) return;
      for (let sent = 0; sent < 3 * interimAnswersMax && !socket.destroyed; sent++) {
        socket.write(hint);
        await Bun.sleep(2);
      }
      if (!socket.destroyed) socket.end(ok);
    });
    expect(finalAnswer(await heardOf()).head).toStartWith("HTTP/1.1 502 ");
  });

  test("never reach a client of HTTP/1.0", async () => {
    stage.play(answering(`HTTP/1.1 100 Continue\r\n\r\n${hint}${ok}`));
    const answer = await raw(proxy.port, get("", "GET / HTTP/1.0"));
    expect(answer.status).toBe(200);
    expect(answer.head + answer.body).not.toContain("HTTP/1.1 1");
  });

  test("100 reaches nobody who did not ask for it", async () => {
    stage.play(answering(`HTTP/1.1 100 Continue\r\n\r\n${ok}`));
    using talk = await startTalk(proxy.port);
    talk.write(get());
    await talk.until(isAnswered);
    expect(talk.heard.text).toStartWith("HTTP/1.1 200 OK\r\n");
  });

  test("101 that nobody asked for is a bad answer", async () => {
    stage.play(answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\n\r\n"));
    expect((await raw(proxy.port, get())).status).toBe(502);
  });
});

describe("methods of the proxy's own", () => {
  test.each([
    "TRACE / HTTP/1.1\r\nHost: a.test\r\nCookie: secret=1\r\n\r\n",
    "TRACE http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a.test\r\n\r\n",
  ])("%j gets 405 with Allow, and no upstream hears of it", async (request) => {
    stage.play(answering(ok));
    const answer = await raw(proxy.port, request);
    expect(answer.status).toBe(405);
    expect(answer.fields.some(([name]) => name === "allow")).toBe(true);
    expect(answer.body).not.toContain("secret");
    expect(stage.heard).toBe("");
  });

  test("TRACE with a body is no way to smuggle: what follows is not run", async () => {
    stage.play(answering(ok));
    using talk = await startTalk(proxy.port);
    talk.write(`TRACE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99\r\n\r\n${get("", "GET /smuggled HTTP/1.1")}`);
    await talk.until((text) => text.includes("\r\n\r\n"));
    expect(talk.heard.text).toStartWith("HTTP/1.1 405 ");
    expect(stage.heard).toBe("");
  });

  // RFC 9110 7.6.2
  test.each(["/", "*"])("OPTIONS %s with Max-Forwards: 0 is answered here", async (target) => {
    stage.play(answering(ok));
    const answer = await raw(proxy.port, get("Max-Forwards: 0\r\n", `OPTIONS ${target} HTTP/1.1`), 2_000);
    expect([200, 204]).toContain(answer.status);
    expect(stage.heard).toBe("");
  });
  test("OPTIONS counts Max-Forwards down", async () => {
    expect(linesIn(await sentUp(get("Max-Forwards: 5\r\n", "OPTIONS / HTTP/1.1")), "max-forwards")).toEqual([
      "Max-Forwards: 4",
    ]);
  });
  test("other methods keep Max-Forwards as it came", async () => {
    expect(linesIn(await sentUp(get("Max-Forwards: 0\r\n")), "max-forwards")).toEqual(["Max-Forwards: 0"]);
  });
  // RFC 9110 9.3.7
  test("OPTIONS * goes upstream as it came", async () => {
    expect(await sentUp(get("", "OPTIONS * HTTP/1.1"))).toStartWith("OPTIONS * HTTP/1.1\r\n");
  });
});

describe("fields that lie", () => {
  const lies = [
    "Proxy: http://evil.test",
    "pROXY: http://evil.test",
    "Content_Length: 5",
    "Transfer_Encoding: chunked",
    "X_Forwarded_For: 6.6.6.6",
    "Client-Cert: :eA==:",
    "X-Client-Subject: CN=root",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic eA==",
  ].join("\r\n");

  test("never go upstream, whoever sends them", async () => {
    for (const by of [proxy, trusting]) {
      const names = namesIn(await sentUp(get(`${lies}\r\nX-Kept: 1\r\n`), by));
      expect(names).toContain("x-kept");
      expect(names.filter((name) => /^(proxy.*|.*_.*|client-cert|x-client-subject)$/.test(name))).toEqual([]);
    }
  });

  test("Forwarded is believed from trusted proxies only", async () => {
    expect(linesIn(await sentUp(get("Forwarded: for=6.6.6.6\r\n")), "forwarded")).toEqual([]);
    expect(linesIn(await sentUp(get("Forwarded: for=6.6.6.6\r\n"), trusting), "forwarded")).toEqual([
      "Forwarded: for=6.6.6.6",
    ]);
  });

  test("Via is passed on and not added; Date is added only where there is none", async () => {
    expect(linesIn(await sentUp(get("Via: 1.1 other\r\n")), "via")).toEqual(["Via: 1.1 other"]);
    expect(linesIn(await sentUp(get()), "via")).toEqual([]);
    const dates = async (answer: string) => {
      stage.play(answering(answer));
      return (await raw(proxy.port, get())).fields.filter(([name]) => name === "date").map(([, value]) => value);
    };
    const old = "Tue, 15 Nov 1994 08:12:31 GMT";
    expect(await dates(ok.replace("\r\n", `\r\nDate: ${old}\r\n`))).toEqual([old]);
    const [own, ...more] = await dates(ok);
    expect(more).toEqual([]);
    expect(Math.abs(Date.parse(own!) - Date.now())).toBeLessThan(60_000);
  });
});

describe("upgrades that would leave the proxy blind", () => {
  const connection = "Connection: Upgrade, HTTP2-Settings\r\n";
  const settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
  test.each([
    `${connection}Upgrade: h2c\r\n${settings}`,
    `${connection}Upgrade: H2C\r\n${settings}`,
    `${connection}Upgrade: h2\r\n`,
    `${connection}Upgrade: TLS/1.3\r\n`,
    `${connection}Upgrade: HTTP/2.0\r\n${settings}`,
    `${connection}Upgrade: tls/1.0,h2c\r\nUpgrade: h2c\r\n`,
    // Not even asked for: the fields alone must not arrive either.
    `Upgrade: h2c\r\n${settings}`,
    `Upgrade: websocket\r\n`,
    `Connection: upgrade\r\n${settings}`,
    settings,
  ])("%j go no further", async (lines) => {
    const names = namesIn(await sentUp(get(lines)));
    expect(names.filter((name) => /^(upgrade|http2-settings|connection)$/.test(name))).toEqual([]);
    expect(names).toContain("host");
  });

  test("are taken out of a list", async () => {
    const head = await sentUp(get(`${connection}Upgrade: h2c, echo, TLS/1.2\r\n${settings}`));
    expect(linesIn(head, "upgrade")).toEqual(["Upgrade: echo"]);
    expect(linesIn(head, "connection")).toEqual(["Connection: Upgrade"]);
    expect(linesIn(head, "http2-settings")).toEqual([]);
  });

  test("do not work in HTTP/1.0", async () => {
    const names = namesIn(await sentUp(get("Connection: Upgrade\r\nUpgrade: echo\r\n", "GET / HTTP/1.0")));
    expect(names).not.toContain("upgrade");
  });

  test("made by an upstream to h2c are a bad answer", async () => {
    stage.play(answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"));
    expect((await raw(proxy.port, get(`${connection}Upgrade: h2c, echo\r\n${settings}`))).status).toBe(502);
  });
});

describe("a message that two readers could read differently", () => {
  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
  const post = (lines: string, body: string) => `POST / HTTP/1.1\r\nHost: a.test\r\n${lines}\r\n${body}`;
  const requests: readonly (readonly [string, string])[] = [
    ["both lengths", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["two lengths", post(`Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n`, smuggled)],
    ["a signed length", post("Content-Length: +0\r\n", smuggled)],
    ["a list of lengths", post("Content-Length: 0, 0\r\n", smuggled)],
    ["a coding behind chunked", post("Transfer-Encoding: chunked, identity\r\n", `0\r\n\r\n${smuggled}`)],
    ["a coding that looks like chunked", post("Transfer-Encoding: \x0bchunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["chunked in HTTP/1.0", post("Transfer-Encoding: chunked\r\n", `0\r\n\r\n${smuggled}`).replace("1.1", "1.0")],
    ["a blank before the colon", post("Content-Length : 0\r\n", smuggled)],
    ["a folded line", post("X: y\r\n Content-Length: 0\r\n", smuggled)],
    ["bare line feeds", post("", smuggled).replaceAll("\r\n", "\n")],
    ["a bare CR", post("X: y\rContent-Length: 0\r\n", smuggled)],
    ["NUL", post("X: y\0\r\n", smuggled)],
    ["two Hosts", get("Host: b.test\r\n") + smuggled],
    ["no Host", `GET / HTTP/1.1\r\n\r\n${smuggled}`],
    ["a Host with a user", get().replace("a.test", "b.test@a.test") + smuggled],
    ["a Host with a comma", get().replace("a.test", "a.test, b.test") + smuggled],
    ["HTTP/0.9", `GET /\r\n\r\n${smuggled}`],
    ["another version", get("", "GET / HTTP/1.2") + smuggled],
    ["a preface that is not quite that of HTTP/2", "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"],
  ];
  const chunkedHead = post("Transfer-Encoding: chunked\r\n", "");
  const bodies: readonly (readonly [string, string])[] = [
    ["a negative chunk size", `-1\r\n\r\n${smuggled}`],
    ["a chunk size with 0x", `0x0\r\n\r\n${smuggled}`],
    ["a chunk size beyond all numbers", `10000000000000000\r\n\r\n${smuggled}`],
    ["a chunk that is longer than it says", `2\r\nhello\r\n0\r\n\r\n${smuggled}`],
    ["a chunk size line that ends in LF", `0\n\r\n${smuggled}`],
    ["a bare CR in a chunk extension", `0;a\rb\r\n\r\n${smuggled}`],
    ["a LF in a chunk extension", `0;a\nb\r\n\r\n${smuggled}`],
  ];

  test.each(requests)("%s: is refused, the connection closed, nothing of it goes upstream", async (_, request) => {
    stage.play(answering(ok));
    using talk = await startTalk(proxy.port);
    talk.write(request);
    talk.halfClose();
    await talk.until(() => false);
    expect(talk.heard.text).toMatch(/^HTTP\/1\.1 (400|501|505) /);
    expect(talk.heard.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(stage.heard).toBe("");
  });

  test.each(bodies)("%s: the request never looks complete, and nothing behind it is run", async (_, body) => {
    stage.play((socket, said) => {
      if (isWhole(said)) socket.end(ok);
    });
    using talk = await startTalk(proxy.port);
    talk.write(chunkedHead + body);
    await talk.until(() => false);
    expect(talk.heard.text).not.toContain(" 200 ");
    await until(() => !stage.heard.includes("smuggled"), "nothing of the second request");
    expect(isWhole(stage.heard)).toBe(false);
  });
});
