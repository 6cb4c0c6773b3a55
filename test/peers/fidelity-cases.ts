/** What a proxy can change on the way, case by case: how to find out, and what each pair of engines and nginx do. */
import type { Socket } from "node:net";
import { answering, finalAnswer, isAnswered, isWhole, ok, startTalk, type Stage } from "./fidelity-bench.ts";

/** Pairs of engines, listener first, and nginx with the usual lines around `proxy_pass`. */
export const columns = ["socket + socket", "bun + socket", "socket + fetch", "bun + fetch", "nginx"] as const;

export type Column = (typeof columns)[number];

type Expected = Readonly<Record<Column, string>>;

export interface Way {
  /** the proxy, on 127.0.0.1; it forwards everything to the stage, and /dead to nobody */
  readonly port: number;
  readonly stage: Stage;
}

export interface FidelityCase {
  readonly name: string;
  /** @returns what became of it, in the words of the table */
  verdict(way: Way): Promise<string>;
  readonly expected: Expected;
}

/** @param both sockets on both sides @param bun the column bun + socket @param fetch the column socket + fetch */
function cells(both: string, bun: string, fetch: string, neither: string, nginx: string): Expected {
  return { "socket + socket": both, "bun + socket": bun, "socket + fetch": fetch, "bun + fetch": neither, nginx };
}
const byListener = (socket: string, bun: string, nginx: string) => cells(socket, bun, socket, bun, nginx);
const byForwarder = (socket: string, fetch: string, nginx: string) => cells(socket, socket, fetch, fetch, nginx);
const byBoth = (socket: string, otherwise: string, nginx: string) =>
  cells(socket, otherwise, otherwise, otherwise, nginx);

interface Head {
  readonly first: string;
  readonly lines: readonly string[];
  readonly body: string;
}

function headOf(text: string): Head {
  const { head, body } = finalAnswer(text);
  const [first = "", ...lines] = head.split("\r\n");
  return { first, lines, body };
}

/** @returns what went upstream and what came back for one request */
async function carry({ port, stage }: Way, request: string, answer = ok): Promise<{ sent: Head; answer: Head }> {
  stage.play(answering(answer));
  using talk = await startTalk(port);
  talk.write(request);
  await talk.until(isAnswered);
  return { sent: headOf(stage.heard), answer: headOf(talk.heard.text) };
}

const get = (lines = "", target = "/") => `GET ${target} HTTP/1.1\r\nHost: a.test\r\n${lines}\r\n`;

const nameOf = (line: string) => line.slice(0, line.indexOf(":"));
const valueOf = (head: Head, name: string) =>
  head.lines.find((line) => nameOf(line).toLowerCase() === name)?.replace(/^[^:]*: */, "");
const statusOf = (head: Head) => head.first.split(" ")[1] ?? "no answer";

function target(name: string, written: string, expected: Expected): FidelityCase {
  return {
    name,
    async verdict(way) {
      const { sent, answer } = await carry(way, get("", written));
      if (sent.first === "") return statusOf(answer);
      const went = sent.first.split(" ").slice(1, -1).join(" ");
      return went === written ? "as it came" : `\`${went}\``;
    },
    expected,
  };
}

const repeated = ["X-b: 1", "x-A: 2", "X-b: 3"];

function order(head: Head): string {
  const lines = head.lines.filter((line) => /^x-[ab]:/i.test(line));
  if (lines.join("\n") === repeated.join("\n")) return "kept";
  if (lines.join("\n").toLowerCase() === repeated.join("\n").toLowerCase()) return "order and number kept, case lost";
  return lines.length < repeated.length ? "one line per name" : "another order";
}

const usual = "X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Real-IP X-Request-Id CDN-Loop";

function added(sent: Head): string {
  const names = sent.lines.map(nameOf).filter((name) => name.toLowerCase() !== "host");
  const beyond = names.filter((name) => !usual.toLowerCase().split(" ").includes(name.toLowerCase()));
  const listed = names.length - beyond.length === usual.split(" ").length ? ["what is listed below"] : [];
  return [...listed, ...beyond.sort()].join(", ") || "nothing";
}

/** How an answer looks whose upstream resets the connection inside its body. @param start of the answer, ends in "half" */
async function resetInside({ port, stage }: Way, start: string): Promise<string> {
  let upstream: Socket | undefined;
  stage.play((socket, said) => {
    if (upstream || !isWhole(said)) return;
    upstream = socket;
    socket.write(start);
  });
  using talk = await startTalk(port);
  talk.write(get());
  // A proxy may keep so little to itself until the end.
  await talk.within(500, (text) => text.endsWith("half") || text.endsWith("half\r\n"));
  upstream!.resetAndDestroy();
  await talk.until(isAnswered);
  const { head } = finalAnswer(talk.heard.text);
  if (/^HTTP\/1\.1 5/.test(head)) return "502";
  if (isAnswered(talk.heard.text)) return "**looks complete**";
  const framed = /\r\n(content-length|transfer-encoding):/i.test(head);
  return framed || talk.heard.ended === "reset" || head === "" ? "cut" : "**looks complete**";
}

const size = 3_000_000;

export const cases: readonly FidelityCase[] = [
  target("target `/a/../b`", "/a/../b", byBoth("as it came", "`/b`", "as it came")),
  target("target `//x//y`", "//x//y", byForwarder("as it came", "`/x//y`", "as it came")),
  target("target `/%7euser/%2F`", "/%7euser/%2F", byBoth("as it came", "as it came", "as it came")),
  target("target `/q?a='b'`", "/q?a='b'", byBoth("as it came", "`/q?a=%27b%27`", "as it came")),
  target("target `/a\\b`", "/a\\b", byBoth("as it came", "`/a/b`", "as it came")),
  {
    name: "absolute-form target",
    async verdict(way) {
      const { sent, answer } = await carry(
        way,
        "GET http://a.test:81/x HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n",
      );
      if (sent.first === "") return statusOf(answer);
      if (sent.first.split(" ")[1] !== "/x") return `\`${sent.first}\``;
      return {
        "a.test:81": "its authority is the Host",
        "a.test": "its host is the Host",
        "b.test": "the Host field counts",
      }[valueOf(sent, "host")!]!;
    },
    expected: byListener("its authority is the Host", "the Host field counts", "its host is the Host"),
  },
  {
    name: "request lines: order, case, duplicates",
    async verdict(way) {
      return order((await carry(way, get(repeated.map((line) => `${line}\r\n`).join("")))).sent);
    },
    expected: byBoth("kept", "one line per name", "kept"),
  },
  {
    name: "answer lines: order, case, duplicates",
    async verdict(way) {
      const answer = ok.replace("\r\n", `\r\n${repeated.join("\r\n")}\r\n`);
      return order((await carry(way, get(), answer)).answer);
    },
    expected: byBoth("kept", "one line per name", "kept"),
  },
  {
    name: "Set-Cookie twice",
    async verdict(way) {
      const cookies = "Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Expires=Wed, 21 Oct 2099 07:28:00 GMT\r\n";
      const { answer } = await carry(way, get(), ok.replace("\r\n", `\r\n${cookies}`));
      const lines = answer.lines.filter((line) => /^set-cookie:/i.test(line)).map((line) => line.slice(11));
      return lines.join("\r\n") === cookies.trimEnd().replaceAll("Set-Cookie:", "") ? "kept" : "changed";
    },
    expected: byListener("kept", "kept", "kept"),
  },
  {
    name: "added to a request with only a Host",
    verdict: async (way) => added((await carry(way, get())).sent),
    expected: byForwarder("what is listed below", "what is listed below, Accept, Connection, User-Agent", "nothing"),
  },
  {
    name: "GET with a body",
    async verdict(way) {
      const { sent, answer } = await carry(way, get("Content-Length: 5\r\n").concat("hello"));
      if (sent.first === "") return statusOf(answer);
      return sent.body === "hello" && valueOf(sent, "content-length") === "5" ? "carried" : "body lost";
    },
    expected: cells("carried", "body lost", "501", "body lost", "carried"),
  },
  {
    name: "Content-Length of a 3 MB request",
    async verdict(way) {
      const request = `POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${size}\r\n\r\n${"x".repeat(size)}`;
      const { sent } = await carry(way, request);
      return valueOf(sent, "content-length") === String(size) ? "kept" : "chunked";
    },
    expected: byListener("kept", "kept", "kept"),
  },
  {
    name: "Content-Length of a 3 MB answer",
    async verdict(way) {
      const { answer } = await carry(
        way,
        get(),
        `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${"x".repeat(size)}`,
      );
      return valueOf(answer, "content-length") === String(size) ? "kept" : "chunked";
    },
    expected: byListener("kept", "chunked", "kept"),
  },
  {
    name: "head of an answer whose body is late",
    async verdict({ port, stage }) {
      let finish = () => {};
      stage.play((socket, said) => {
        if (!isWhole(said)) return;
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
        finish = () => void socket.end("late");
      });
      using talk = await startTalk(port);
      talk.write(get());
      const early = await talk.within(2_000, (text) => text.includes("\r\n\r\n"));
      finish();
      await talk.until(isAnswered);
      return early ? "at once" : "with the body";
    },
    expected: byListener("at once", "with the body", "with the body"),
  },
  {
    name: "HEAD with Content-Length",
    async verdict({ port, stage }) {
      stage.play(answering("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"));
      using talk = await startTalk(port);
      talk.write("HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
      await talk.until(() => false);
      const { lines, body } = headOf(talk.heard.text);
      if (body !== "") return "a body";
      return lines.some((line) => /^content-length: 12345$/i.test(line)) ? "kept, no body" : "lost";
    },
    expected: byListener("kept, no body", "kept, no body", "kept, no body"),
  },
  {
    name: "reason phrase",
    async verdict(way) {
      const { answer } = await carry(way, get(), ok.replace("OK", "Sehr gut"));
      return answer.first.endsWith(" Sehr gut") ? "kept" : answer.first.slice("HTTP/1.1 ".length);
    },
    expected: byListener("kept", "200 OK", "kept"),
  },
  {
    name: "103 before the answer",
    async verdict({ port, stage }) {
      stage.play(answering(`HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n${ok}`));
      using talk = await startTalk(port);
      talk.write(get());
      await talk.until(isAnswered);
      if (!talk.heard.text.startsWith("HTTP/1.1 103 ")) return "dropped";
      // Each of the proxies dates what it takes for the answer; what follows has then become its body.
      return valueOf(headOf(talk.heard.text), "date") ? "passed on" : "**taken for the answer**";
    },
    expected: byBoth("passed on", "dropped", "**taken for the answer**"),
  },
  {
    name: "`Expect: 100-continue`, refused by the upstream",
    async verdict({ port, stage }) {
      stage.play((socket, said) => {
        if (said.includes("\r\n\r\n") && !socket.writableEnded)
          socket.end("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      });
      using talk = await startTalk(port);
      talk.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
      // nginx waits for the body before it asks anybody.
      if (await talk.until((text) => text.includes("\r\n\r\n"))) talk.write("hello");
      await talk.until(isAnswered);
      const asked = talk.heard.text.startsWith("HTTP/1.1 100 ") ? "100, then " : "";
      return `${asked}${statusOf(headOf(talk.heard.text))}`;
    },
    expected: byBoth("413", "100, then 413", "100, then 413"),
  },
  {
    name: "`Expect: 100-continue` while no upstream is there",
    async verdict({ port }) {
      using talk = await startTalk(port);
      talk.write("POST /dead HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
      await talk.until((text) => text.includes("\r\n\r\n"));
      return talk.heard.text.startsWith("HTTP/1.1 100 ") ? "100" : "the error";
    },
    expected: byListener("the error", "100", "100"),
  },
  {
    name: "trailers of a request",
    async verdict(way) {
      const { sent, answer } = await carry(
        way,
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
      );
      if (statusOf(answer) !== "200") return statusOf(answer);
      return sent.body.endsWith("0\r\nX-Sum: 1\r\n\r\n") ? "passed on" : "dropped";
    },
    expected: cells("passed on", "400", "dropped", "400", "dropped"),
  },
  {
    name: "trailers of an answer",
    async verdict(way) {
      const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n";
      const { answer } = await carry(way, get("TE: trailers\r\nConnection: TE\r\n"), chunked);
      return answer.body.endsWith("0\r\nX-Sum: 1\r\n\r\n") ? "passed on" : "dropped";
    },
    expected: byBoth("passed on", "dropped", "dropped"),
  },
  {
    name: "pipelined requests",
    async verdict({ port, stage }) {
      stage.play((socket, said) => {
        const path = /^GET (\S+)/.exec(said)![1]!;
        if (isWhole(said)) socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n${path}`);
      });
      using talk = await startTalk(port);
      talk.write(get("", "/1") + get("", "/2") + get("", "/3"));
      await talk.until((text) => (text.match(/HTTP\/1\.1 200/g)?.length ?? 0) === 3 && text.endsWith("/3"));
      const answers = [...talk.heard.text.matchAll(/\r\n\r\n(\/\d)/g)].map(([, path]) => path).join("");
      if (answers === "/1/2/3") return "answered in order";
      return `${answers === "" ? "no answer" : "not all answered"}, connection closed`;
    },
    expected: byListener("answered in order", "no answer, connection closed", "answered in order"),
  },
  {
    name: "reset inside a body with Content-Length",
    verdict: (way) => resetInside(way, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"),
    expected: byListener("cut", "cut", "cut"),
  },
  {
    name: "reset inside a chunked body",
    verdict: (way) => resetInside(way, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    expected: byListener("cut", "cut", "cut"),
  },
  {
    name: "reset inside a body that ends with the connection",
    verdict: (way) => resetInside(way, "HTTP/1.1 200 OK\r\n\r\nhalf"),
    expected: byForwarder("cut", "**looks complete**", "cut"),
  },
  {
    name: "client that closes its sending side first",
    async verdict({ port, stage }) {
      stage.play((socket, said) => {
        // So late that its FIN is there long before.
        if (isWhole(said)) setTimeout(() => socket.end(ok.replace("\r\n", "\r\nConnection: close\r\n")), 200);
      });
      using talk = await startTalk(port);
      talk.write(get());
      talk.halfClose();
      return (await talk.until(isAnswered)) ? "gets its answer" : "gets nothing";
    },
    expected: byListener("gets its answer", "gets nothing", "gets nothing"),
  },
];
