/** Files for nginx to serve, and requests for them with the answer each must get. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Ask, Asked, Client } from "../support/ask.ts";

export interface ServedFile {
  readonly target: string;
  readonly content: Buffer;
  readonly etag: string;
  readonly modified: string;
}

export interface Question extends Ask {
  readonly status: number;
  /** the body it must get */
  readonly expected: Buffer;
  readonly contentRange?: string;
}

/** Random numbers that are the same on every run: a failure can be repeated. */
export class Dice {
  constructor(private state: number) {}

  /** @returns 0 … below - 1 */
  roll(below: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * below);
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) {
      this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
      bytes[i] = this.state >>> 24;
    }
    return bytes;
  }
}

/** The edges of buffers and limits, and what lies between. */
const sizes = [
  0,
  1,
  2,
  100,
  1023,
  1024,
  4095,
  4096,
  8192,
  16_383,
  16_384,
  16_385,
  32_768,
  65_535,
  65_536,
  65_537,
  100_000,
  131_072,
  200 * 1024,
];

/** The same file as it is written in a target and on disk. */
const places: readonly (readonly [target: string, path: string])[] = [
  ["/plain", "plain"],
  ["/deep/er/and/deeper/file", "deep/er/and/deeper/file"],
  ["/with%20blank", "with blank"],
  ["/%C3%A4%E2%82%AC", "ä€"],
  ["/a+b~c;d=e,f@g!h$i&j*k(l)", "a+b~c;d=e,f@g!h$i&j*k(l)"],
  ["/per%25cent", "per%cent"],
  ["/..dots..", "..dots.."],
  ["/UPPER.lower", "UPPER.lower"],
];

/** Writes the files. @param direct asks nginx itself, for the validators it gives them */
export async function writeFiles(root: string, dice: Dice, direct: Client): Promise<ServedFile[]> {
  const files: ServedFile[] = [];
  for (const [turn, size] of [...sizes, ...sizes.map(() => dice.roll(200 * 1024))].entries()) {
    const [start, path] = places[turn % places.length]!;
    const ending = `-${turn}.${["bin", "txt", "json", "html"][turn % 4]}`;
    const content = dice.bytes(size);
    const place = join(root, path + ending);
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, content);
    const target = start + ending;
    const { status, fields } = await direct.ask({ method: "HEAD", target });
    if (status !== 200) throw new Error(`nginx answers ${status} for its own ${target}`);
    files.push({ target, content, etag: fields.get("etag")!, modified: fields.get("last-modified")! });
  }
  return files;
}

const nothing = Buffer.alloc(0);

/** One question of a mix as browsers and downloaders ask them. */
export function anyQuestion(files: readonly ServedFile[], dice: Dice): Question {
  const file = files[dice.roll(files.length)]!;
  const { target, content, etag, modified } = file;
  const size = content.length;
  const whole = { target, status: 200, expected: content };
  const kind = dice.roll(100);
  if (kind < 40) return whole;
  if (kind < 50) return { ...whole, target: `${target}?n=${dice.roll(1e6)}&empty=&x=%20%2f&x` };
  if (kind < 62) return { ...whole, method: "HEAD", expected: nothing };
  if (kind < 66) return { ...whole, target: `${target}.missing`, status: 404, expected: nothing };
  if (kind < 74) {
    const fields: Record<string, string> = dice.roll(2)
      ? { "If-None-Match": `"other", ${etag}` }
      : { "If-Modified-Since": modified };
    return { ...whole, method: dice.roll(4) ? "GET" : "HEAD", fields, status: 304, expected: nothing };
  }
  if (kind < 80) return { ...whole, fields: { "If-None-Match": '"other"' } };
  // nginx answers a range of an empty file with the empty file.
  if (size === 0) return { ...whole, fields: { Range: "bytes=0-" } };
  if (kind < 82)
    return {
      ...whole,
      fields: { Range: `bytes=${size}-` },
      status: 416,
      contentRange: `bytes */${size}`,
      expected: nothing,
    };
  if (kind < 84) return { ...whole, fields: { Range: "bytes=0-0", "If-Range": '"other"' } };
  return partOf(file, dice);
}

function partOf({ target, content, etag }: ServedFile, dice: Dice): Question {
  const size = content.length;
  const first = dice.roll(size);
  const last = first + dice.roll(size - first);
  const form = dice.roll(3);
  const [range, from, to] =
    form === 0
      ? [`${first}-${last}`, first, last]
      : form === 1
        ? [`${first}-`, first, size - 1]
        : [`-${size - first}`, first, size - 1];
  const fields: Record<string, string> = { Range: `bytes=${range}` };
  if (dice.roll(2)) fields["If-Range"] = etag;
  return {
    target,
    fields,
    status: 206,
    expected: content.subarray(from, to + 1),
    contentRange: `bytes ${from}-${to}/${size}`,
  };
}

/** @returns what is wrong with an answer, or "" */
export function faultOf(question: Question, answer: Asked): string {
  const { method = "GET", target, fields, status, contentRange } = question;
  const about = `${method} ${target} ${JSON.stringify(fields ?? {})}`;
  if (answer.status !== status) return `${about}: status ${answer.status}, expected ${status}`;
  if (answer.fields.get("content-range") !== contentRange)
    return `${about}: Content-Range "${answer.fields.get("content-range")}", expected "${contentRange}"`;
  // The texts of nginx's own error pages are compared with its direct answers only.
  if (status >= 400) return "";
  if (!answer.body.equals(question.expected))
    return `${about}: ${answer.body.length} bytes differ from the ${question.expected.length} expected`;
  const length = answer.fields.get("content-length");
  const expected = method === "HEAD" ? undefined : String(question.expected.length);
  if (length !== undefined && expected !== undefined && status !== 304 && length !== expected)
    return `${about}: Content-Length ${length}, expected ${expected}`;
  return "";
}
