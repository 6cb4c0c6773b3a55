/**
 * Our parsers against real nginx and node:http on thousands of mutated messages: ours may accept nothing that both refuse,
 * and every difference has its row in a table below. 20,000 messages each way with ARALEZ_LONG=1.
 */
import { expect, test } from "bun:test";
import { METHODS } from "node:http";
import requestCorpus from "../../../fuzz/corpus/requests.json" with { type: "json" };
import responseCorpus from "../../../fuzz/corpus/responses.json" with { type: "json" };
import { mutate, randomOf } from "../../../fuzz/mutate.ts";
import { readRequests, readResponses } from "../../../fuzz/reader.ts";
import type { Message, Reading } from "../../../fuzz/reading.ts";
import { long } from "../../../support/programs.ts";
import { askNginxRequests, askNginxResponses, askNode, type Readings } from "./peers.ts";

const seed = Number(process.env.ARALEZ_SEED ?? 1);
const count = long ? 20_000 : 1_500;

type Peer = "node" | "nginx";

/** Where ours accepts and a peer refuses, or reads something else. */
interface Row {
  readonly peer: Peer;
  readonly what: string;
  /** @param text the whole input; @param before what was read before on the connection */
  readonly is: (message: Message, text: string, before: Message[]) => boolean;
}

const target = (message: Message) => message.start.slice(message.start.indexOf(" ") + 1);
const field = (message: Message, name: string) => message.lines.find(([is]) => is.toLowerCase() === name)?.[1];
const framesInTrailers = ({ trailers }: Message) =>
  trailers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));

const requestRows: readonly Row[] = [
  {
    peer: "node",
    what: "knows a fixed list of methods; any token of capital letters is one (RFC 9110 9.1)",
    is: ({ start }) => !METHODS.includes(start.split(" ")[0]!),
  },
  {
    peer: "node",
    what: "refuses bytes beyond ASCII in targets; browsers and nginx pass them on",
    is: (message) => /[\x80-\xff]/.test(target(message)),
  },
  {
    peer: "node",
    what: "reads nothing behind a request that asks for an upgrade, whether it is granted or not",
    is: (_message, _text, before) => before.some(({ facts }) => facts.includes("upgrade true")),
  },
  {
    peer: "nginx",
    what: "does not know `OPTIONS *` (RFC 9110 9.3.7)",
    is: (message) => target(message) === "*",
  },
  {
    peer: "nginx",
    what: "reads `OPTIONS http://host` as `/`; it means `*` (RFC 9112 3.2.4)",
    is: (message) => /^OPTIONS https?:\/\/[^/?]+$/i.test(message.start),
  },
  {
    peer: "nginx",
    what: "refuses CONNECT and TRACE while parsing; ours answers 405 later",
    is: ({ start }) => /^(CONNECT|TRACE) /.test(start),
  },
  {
    peer: "nginx",
    what: "decodes the path while parsing and refuses %00, bad escapes and a climb above the root; ours leaves it to the rules of matching (A4)",
    is: (message) => /%(?![0-9a-f]{2})|%00|\.\.|%2e/i.test(target(message)),
  },
  {
    peer: "nginx",
    what: "refuses a host with two dots in a row, and in a target all but letters, digits, dots and hyphens",
    is: (message) =>
      /\.\./.test(field(message, "host") ?? "") || /^https?:\/\/[^/?]*(\.\.|[_~])/i.test(target(message)),
  },
  {
    peer: "nginx",
    what: "strips no tab around a value, so that Host is invalid with one",
    is: (_, text) => /^Host:(?: *\t|[^\r]*\t *\r)/im.test(text),
  },
  {
    peer: "nginx",
    what: "refuses some fields twice that are lists",
    is: ({ lines }) =>
      ["expect", "te", "upgrade"].some((name) => lines.filter(([is]) => is.toLowerCase() === name).length > 1),
  },
  {
    peer: "node",
    what: "refuses framing fields in trailers; the pipeline drops them",
    is: framesInTrailers,
  },
];

const responseRows: readonly Row[] = [
  {
    peer: "nginx",
    what: "1.22 takes an interim answer for the final one",
    is: (_, text) => /^HTTP\/1\.[01] 1(?!01)/.test(text),
  },
  {
    peer: "node",
    what: "takes a 101 behind the answer for the answer",
    is: (_, text) => text.lastIndexOf("HTTP/1.1 101") > 0,
  },
  {
    peer: "nginx",
    what: "takes a 101 that it did not ask for as an answer with a body",
    is: ({ start }) => start.startsWith("101"),
  },
  {
    peer: "node",
    what: "refuses framing fields in trailers; the pipeline drops them",
    is: framesInTrailers,
  },
];

/** Where ours refuses and a peer accepts: by our reason. */
const stricter: Readonly<Record<string, string>> = {
  "a bare LF":
    "RFC 9112 2.2 lets a recipient take a LF for a line end, and nginx does; a hop that does not sees other lines",
  "a bare CR":
    "must not be a line end or a blank (RFC 9112 2.2); nginx keeps it in values of upstreams, node in the status line",
  "a bare CR in an empty line": "the same, behind an interim answer that nginx took for the final one",
  "a control character in a field value": "RFC 9110 5.5: nginx passes controls but NUL, node takes some from upstreams",
  "a field line without colon": "nginx ignores such lines",
  "a field name that is no token": "nginx ignores such lines",
  "a blank in or after a field name":
    "nginx ignores such lines; it reads `Content-Length : 5` of upstreams as another field",
  "an empty field name": "nginx ignores such lines",
  "a folded field line": "obs-fold (RFC 9112 5.2): nginx reads the fold as a line of its own and ignores it",
  "a malformed Host": "userinfo, blanks, commas, sub-delims and the like: nginx and node differ in what they let pass",
  "an invalid Host": "as the pipeline says: not an IPv6 address in the brackets, or a name of dots",
  "no Host field": "node: CONNECT without Host",
  "two Host fields": "RFC 9112 3.2: must be refused; node takes the first",
  "a malformed target": "`*` for other methods, other schemes, an odd authority of CONNECT",
  "a CONNECT with a body": "RFC 9110 9.3.6: it has none; node does not read it",
  "a request line that is not METHOD TARGET VERSION": "HTTP/0.9, which node still reads",
  "no HTTP version in the request line": "nginx and node skip further blanks before the version",
  "two blanks in the request line": "nginx and node skip further blanks",
  "no method": "nginx and node skip any number of line ends before a request; RFC 9112 2.2 asks for one",
  "an HTTP version that cannot be read": "nginx takes a blank or a bare LF behind the version",
  "an HTTP version that is not 1.0 or 1.1":
    "nginx reads 1.2 and later as 1.1, node 0.9 and 2.0 on an HTTP/1 connection",
  "Transfer-Encoding in HTTP/1.0": "RFC 9112 6.1: framing is faulty; node reads it, nginx from upstreams",
  "both Content-Length and Transfer-Encoding": "RFC 9112 6.3: must not be passed on; nginx takes it from upstreams",
  "a Transfer-Encoding that is not chunked":
    "lists, empty elements, unknown codings: nginx reads only some, node by the last one",
  "a Transfer-Encoding beside chunked": "the same; 501 by RFC 9112 6.1",
  "two Transfer-Encoding fields": "once means once: node reads the last, nginx either",
  "a malformed Content-Length": "nginx reads as many digits as there are, and ignores the rest, in upstreams' answers",
  "two Content-Length fields": "nginx 1.22 takes the last of an upstream's",
  "a tab beside a Content-Length": "nginx and node refuse it in requests; in responses nginx reads up to the end",
  "a tab beside a Transfer-Encoding": "node takes `chunked` with a tab for another coding",
  "a chunk size that is not hexadecimal": "a blank before CR or `;`, which nginx skips",
  "a chunk size that is too large": "more than 15 digits, leading zeros counted",
  "a bare LF in a chunk's size line": "nginx takes it for a line end",
  "a malformed chunk extension": "nginx skips anything up to the LF; node takes blanks within quotes",
  "a chunk without size": "node does not read chunks behind a coding it does not know",
  "no line end after the data of a chunk":
    "nginx skips what is there up to a LF; node reads a tab behind `chunked` as another coding",
  "the connection was to be closed":
    "the peer reads `Connection` as one word or takes its last line; ours honours `close` on any, and only whole words",
  "no HTTP/1 version in the status line": "nginx reads any version, node skips line ends before it",
  "no status code of three digits": "nginx skips blanks before it and digits behind the version, node reads 099",
  "no blank behind the status code": "nginx, behind an interim answer that it took for the final one",
  "an interim answer without a final one": "nginx 1.22 takes it for the final one",
};

/** nginx looks for the end of a trailer section only, node reads no trailers that frame. */
const trailersToo = "nginx skips trailers without reading them";

interface Difference {
  text: string;
  ours: string | undefined;
  node: string | undefined;
  nginx: string | undefined;
  why: string;
}

interface Compared {
  /** how often each row was needed */
  readonly needed: Map<string, number>;
  readonly alike: number;
  readonly unexplained: Difference[];
}

function compareAll(
  messages: readonly string[],
  read: (text: string) => { reading: Reading; lines: string[]; messages: Message[] },
  rows: readonly Row[],
  peers: Readonly<Record<Peer, Readings>>,
): Compared {
  const needed = new Map<string, number>();
  const need = (what: string) => needed.set(what, (needed.get(what) ?? 0) + 1);
  const unexplained: Difference[] = [];
  let alike = 0;
  for (const [i, text] of messages.entries()) {
    const { reading, lines, messages: parsed } = read(text);
    const [node, nginx] = [peers.node[i]!, peers.nginx[i]!];
    // Behind the first difference the peers stand elsewhere.
    for (let k = 0; k < Math.max(lines.length, node.length, nginx.length); k++) {
      const difference = { text, ours: lines[k], node: node[k], nginx: nginx[k] };
      if (difference.ours === difference.node && difference.ours === difference.nginx) {
        alike++;
        continue;
      }
      if (difference.ours === undefined) {
        const reason = reasonOf(reading);
        if (reason.startsWith("trailers with ") || reason.includes("the trailers")) need(trailersToo);
        else if (stricter[reason] !== undefined) need(reason);
        else unexplained.push({ ...difference, why: `ours alone refuses: ${reason}` });
        break;
      }
      // Also where both peers differ from ours: then each needs a row of its own.
      for (const peer of ["node", "nginx"] satisfies Peer[]) {
        if (difference[peer] === difference.ours) continue;
        const row = rows.find((row) => row.peer === peer && row.is(parsed[k]!, text, parsed.slice(0, k)));
        if (row) need(`${peer} ${row.what}`);
        else unexplained.push({ ...difference, why: `${peer} differs` });
      }
      break;
    }
  }
  return { needed, alike, unexplained };
}

function reasonOf({ state, reason, messages }: Reading): string {
  if (state === "refused") return reason;
  if (state === "closed") return "the connection was to be closed";
  return messages.every(({ start }) => start.startsWith("1")) ? "an interim answer without a final one" : state;
}

function expectExplained({ needed, alike, unexplained }: Compared, messages: number): void {
  if (long) for (const [what, times] of needed) console.log(`${times} × ${what}`);
  expect(unexplained.slice(0, 5)).toEqual([]);
  // Most of what is accepted must be read alike, or the peers were not asked at all.
  expect(alike).toBeGreaterThan(messages / 20);
}

function inputs(corpus: readonly string[]): string[] {
  return [...corpus, ...Array.from({ length: count }, (_, i) => mutate(randomOf(seed, i), corpus))];
}

test("requests are read as nginx and node read them, or are refused", async () => {
  const messages = inputs(requestCorpus);
  const [node, nginx] = await Promise.all([askNode("requests", messages), askNginxRequests(messages)]);
  const read = (text: string) => {
    const reading = readRequests([Buffer.from(text, "latin1")]);
    const lines = reading.messages.map(({ start, facts, body }) => {
      const path = /^form [0-3] ([^;]*(?:;(?! )[^;]*)*)/.exec(facts)![1];
      return `${start.split(" ")[0]} ${path} ${body.length}`;
    });
    return { reading, lines, messages: reading.messages };
  };
  expectExplained(compareAll(messages, read, requestRows, { node, nginx }), messages.length);
}, 300_000);

test("responses are read as nginx and node read them, or are refused", async () => {
  const messages = inputs(responseCorpus);
  const [node, nginx] = await Promise.all([askNode("responses", messages), askNginxResponses(messages)]);
  const read = (text: string) => {
    const reading = readResponses([Buffer.from(text, "latin1")], "GET");
    const final = reading.messages.filter(({ start }) => !/^1(?!01)/.test(start)).slice(0, 1);
    return { reading, lines: final.map(({ start, body }) => `${start.slice(0, 3)} ${body.length}`), messages: final };
  };
  expectExplained(compareAll(messages, read, responseRows, { node, nginx }), messages.length);
}, 300_000);
