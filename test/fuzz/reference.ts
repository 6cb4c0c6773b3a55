/**
 * A slow, literal reader of HTTP/1.1 messages, rule by rule from RFC 9110, 9112 and 3986, for comparison with the fast
 * parsers; it shares nothing with them. Bytes are latin1 characters. Where it deviates from the grammar it says so.
 */
import type { Line, Message, Reading } from "./reading.ts";

// RFC 5234 B.1, RFC 9110 5.6
const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const OWS = "[ \\t]*";
const BWS = OWS;
const fieldVchar = "[\\x21-\\x7e\\x80-\\xff]";
const fieldValue = `(?:${fieldVchar}(?:[ \\t\\x21-\\x7e\\x80-\\xff]*${fieldVchar})?)?`;
const qdtext = "[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]";
const quotedPair = "\\\\[\\t \\x21-\\x7e\\x80-\\xff]";
const quotedString = `"(?:${qdtext}|${quotedPair})*"`;

// RFC 3986. Deviation: what follows the authority is any visible character or obs-text, because browsers send them raw.
const unreserved = "[A-Za-z0-9\\-._~]";
const pctEncoded = "%[0-9A-Fa-f]{2}";
const subDelims = "[!$&'()*+,;=]";
const regName = `(?:${unreserved}|${pctEncoded}|${subDelims})*`;
const ipLiteral = "\\[[0-9A-Fa-f:.]+\\]"; // the inside is IPv6address; node:net's isIPv6 decides in ours
const uriHost = `(?:${ipLiteral}|${regName})`;
const authority = `${uriHost}(?::[0-9]*)?`;
const targetChar = "[\\x21-\\x7e\\x80-\\xff]";

// RFC 9112
const methodAndTarget = new RegExp(`^(${token}) (${targetChar}+) HTTP/([0-9])\\.([0-9])$`);
const originForm = new RegExp(`^/${targetChar}*$`);
const absoluteForm = new RegExp(
  `^[A-Za-z][A-Za-z0-9+\\-.]*://(${authority})((?:/${targetChar}*)?(?:\\?${targetChar}*)?)$`,
);
const authorityForm = new RegExp(`^${uriHost}:[0-9]+$`);
// Deviation: the blank before an empty reason may be missing.
const statusLine = /^HTTP\/([0-9])\.([0-9]) ([0-9]{3})(?: ([\t \x21-\x7e\x80-\xff]*))?$/;
const fieldLine = new RegExp(`^(${token}):${OWS}(${fieldValue})${OWS}$`);
const chunkExt = `(?:${BWS};${BWS}${token}(?:${BWS}=${BWS}(?:${token}|${quotedString}))?)*`;
const chunkLine = new RegExp(`^([0-9A-Fa-f]+)${chunkExt}$`);
const host = new RegExp(`^${authority}$`);

class Refused extends Error {}
class Incomplete extends Error {}

export function referenceRequests(text: string): Reading {
  return readAll(text, (source) => {
    // 2.2: at least one empty line before a request is ignored; this reader ignores just one.
    source.skip("\r\n");
    const lines = source.head();
    const [, method = "", target = "", major, minor] = methodAndTarget.exec(lines[0]!) ?? refused("the request line");
    if (major !== "1" || (minor !== "0" && minor !== "1")) refused("the version");
    const fields = lines.slice(1).map(readLine);
    const hosts = valuesOf(fields, "host");
    // 3.2
    if (hosts.length > 1 || (hosts.length === 0 && minor === "1")) refused("the number of Host lines");
    if (hosts.length === 1 && !host.test(hosts[0]!)) refused("an invalid Host");
    const form = readTarget(method, target);
    const framing = readFraming(fields, minor);
    // RFC 9110 9.3.6
    if (method === "CONNECT" && (framing.chunked || framing.length >= 0)) refused("a CONNECT with content");
    const options = listOf(fields, "connection");
    const keep =
      minor === "1" ? !options.includes("close") : options.includes("keep-alive") && !options.includes("close");
    const upgrade =
      minor === "1" && options.includes("upgrade") && valuesOf(fields, "upgrade").some((value) => value !== "");
    const expect = minor === "1" && namesToken(fields, "expect", "100-continue");
    const te = namesToken(fields, "te", "trailers");
    const nominates = options.some((option) => !["close", "keep-alive", "upgrade", "te"].includes(option));
    const underscore = fields.some(([name]) => name.includes("_"));
    const length = framing.chunked ? 0 : Math.max(0, framing.length);
    const message: Message = {
      start: `${method} ${target}`,
      minor: Number(minor),
      lines: fields,
      body: framing.chunked ? "" : source.take(length),
      trailers: [],
      facts: [
        `form ${form.form} ${form.path}`,
        form.authority ?? "",
        `length ${framing.length} ${framing.chunked}`,
        `keep ${keep} upgrade ${upgrade} expect ${expect}`,
        `te ${te} nominates ${nominates} underscore ${underscore}`,
        `host ${fields.findIndex(([name]) => name.toLowerCase() === "host")}`,
      ].join("; "),
    };
    if (framing.chunked) readChunked(source, message);
    return { message, last: !keep };
  });
}

/** @param method of the requests that are answered */
export function referenceResponses(text: string, method: string): Reading {
  return readAll(text, (source) => {
    const lines = source.head();
    const [, major, minor = "", code, reason = ""] = statusLine.exec(lines[0]!) ?? refused("the status line");
    if (major !== "1" || (minor !== "0" && minor !== "1")) refused("the version");
    const status = Number(code);
    if (status < 100) refused("the status code");
    const fields = lines.slice(1).map(readLine);
    const framing = readFraming(fields, minor);
    const options = listOf(fields, "connection");
    const keep =
      minor === "1" ? !options.includes("close") : options.includes("keep-alive") && !options.includes("close");
    const upgrade = options.includes("upgrade") && valuesOf(fields, "upgrade").some((value) => value !== "");
    // 6.3
    let kind = "close";
    if (method === "HEAD" || status < 200 || status === 204 || status === 304) kind = "none";
    else if (method === "CONNECT" && status < 300) kind = "none";
    else if (framing.chunked) kind = "chunked";
    else if (framing.length >= 0) kind = framing.length === 0 ? "none" : "length";
    const message: Message = {
      start: `${status} ${reason}`,
      minor: Number(minor),
      lines: fields,
      body: kind === "length" ? source.take(framing.length) : kind === "close" ? source.rest() : "",
      trailers: [],
      facts: `body ${kind} ${framing.length} ${framing.chunked}; keep ${keep} upgrade ${upgrade}`,
    };
    if (kind === "chunked") readChunked(source, message);
    return { message, last: kind === "close" || (status >= 200 && !keep) };
  });
}

function readAll(text: string, readOne: (source: Source) => { message: Message; last: boolean }): Reading {
  const source = new Source(text);
  const messages: Message[] = [];
  try {
    while (!source.empty) {
      const { message, last } = readOne(source);
      messages.push(message);
      if (last) return { messages, state: "closed", reason: "" };
    }
  } catch (error) {
    if (error instanceof Refused) return { messages, state: "refused", reason: error.message };
    if (error instanceof Incomplete) return { messages, state: "incomplete", reason: "" };
    throw error;
  }
  return { messages, state: "empty", reason: "" };
}

class Source {
  #at = 0;

  constructor(readonly text: string) {}

  get empty(): boolean {
    return this.#at === this.text.length;
  }

  skip(what: string): void {
    if (this.text.startsWith(what, this.#at)) this.#at += what.length;
  }

  /** The lines up to an empty one, without their ends. */
  head(): string[] {
    const lines = [];
    for (let line; (line = this.line()) !== "";) lines.push(line);
    if (lines.length === 0) refused("no start line");
    return lines;
  }

  line(): string {
    const end = this.text.indexOf("\n", this.#at);
    // 2.2: a bare CR is as invalid as a bare LF; one at the very end may become a line end.
    if (end < 0) throw new Incomplete();
    if (end === this.#at || this.text[end - 1] !== "\r") refused("a bare LF");
    const line = this.text.slice(this.#at, end - 1);
    if (line.includes("\r")) refused("a bare CR");
    this.#at = end + 1;
    return line;
  }

  take(length: number): string {
    if (this.#at + length > this.text.length) throw new Incomplete();
    this.#at += length;
    return this.text.slice(this.#at - length, this.#at);
  }

  rest(): string {
    return this.take(this.text.length - this.#at);
  }
}

function readLine(line: string): Line {
  const [, name = "", value = ""] = fieldLine.exec(line) ?? refused("a field line");
  return [name, value];
}

/** 3.2 */
function readTarget(method: string, target: string): { form: number; path: string; authority?: string } {
  if (method === "CONNECT") {
    return authorityForm.test(target) ? { form: 3, path: target, authority: target } : refused("the target of CONNECT");
  }
  if (originForm.test(target)) return { form: 0, path: target };
  if (target === "*") return method === "OPTIONS" ? { form: 2, path: target } : refused("the target *");
  const [, of = "", path = ""] = absoluteForm.exec(target) ?? refused("the target");
  // 3.2.4
  const empty = method === "OPTIONS" ? "*" : "/";
  return { form: 1, path: path === "" ? empty : path.startsWith("?") ? `/${path}` : path, authority: of };
}

/** 6.1, 6.2, 6.3; what a sender must not send is refused. */
function readFraming(fields: Line[], minor: string): { length: number; chunked: boolean } {
  const codings = valuesOf(fields, "transfer-encoding");
  const lengths = valuesOf(fields, "content-length");
  if (codings.length > 0) {
    if (minor === "0") refused("Transfer-Encoding in HTTP/1.0");
    if (lengths.length > 0) refused("both Content-Length and Transfer-Encoding");
    const list = codings
      .join(",")
      .split(",")
      .map((coding) => coding.replace(/^[ \t]+|[ \t]+$/g, "").toLowerCase());
    // Anything but chunked is "a transfer coding it does not understand".
    if (list.filter((coding) => coding !== "").join() !== "chunked") refused("the transfer codings");
    return { length: -1, chunked: true };
  }
  if (lengths.length === 0) return { length: -1, chunked: false };
  // 6.3: a list of equal values may be taken for one.
  const list = lengths
    .join(",")
    .split(",")
    .map((length) => length.replace(/^[ \t]+|[ \t]+$/g, ""));
  if (!list.every((length) => /^[0-9]+$/.test(length) && length === list[0])) refused("the Content-Length");
  return { length: Number(list[0]), chunked: false };
}

/** 7.1 */
function readChunked(source: Source, message: Message): void {
  for (;;) {
    const [, digits = ""] = chunkLine.exec(source.line()) ?? refused("a chunk's size line");
    const size = Number.parseInt(digits, 16);
    if (size === 0) break;
    if (size > Number.MAX_SAFE_INTEGER) refused("a chunk's size");
    message.body += source.take(size);
    if (source.take(2) !== "\r\n") refused("the end of a chunk");
  }
  for (let line; (line = source.line()) !== "";) message.trailers.push(readLine(line));
}

function valuesOf(fields: Line[], name: string): string[] {
  return fields.filter(([is]) => is.toLowerCase() === name).map(([, value]) => value);
}

/** RFC 9110 5.6.1: elements of a list, without the empty ones, lower case. */
function listOf(fields: Line[], name: string): string[] {
  return valuesOf(fields, name).flatMap((value) =>
    value
      .split(",")
      .map((element) => element.replace(/^[ \t]+|[ \t]+$/g, "").toLowerCase())
      .filter((element) => element !== ""),
  );
}

function namesToken(fields: Line[], name: string, wanted: string): boolean {
  return listOf(fields, name).some((element) => element.split(";")[0]!.replace(/[ \t]+$/, "") === wanted);
}

function refused(what: string): never {
  throw new Refused(what);
}
