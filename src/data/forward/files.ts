/** Static files: a folder served for GET and HEAD. */
import { realpathSync, statSync, type Stats } from "node:fs";
import { writeHttpDate } from "../../lib/http-date.ts";
import { fileBytesHeldMax, folderLookMs } from "../../lib/limits.ts";
import { compressible, mediaType } from "../../lib/mime.ts";
import type { Exchange, OwnReply } from "../exchange.ts";
import { refuse } from "../guards/guard.ts";
import { acceptable, encodings, type Encoding } from "./encodings.ts";
import { readFilePath } from "./file-path.ts";
import { isInside, Opened } from "./opened-file.ts";
import { weigh } from "./preconditions.ts";

/** A folder and how its files are answered; compiled once per route or listener. */
export interface FileTree {
  /** absolute, symlinks resolved; follows a root that is itself a symlink (`current` → `releases/7`) when that is changed */
  readonly root: string;
  /**
   * @param exchange method and conditional fields are asked from it, and the target a folder's redirect is made of
   * @param path the path below the root, still percent-encoded, beginning with "/"; never a query
   */
  answer(exchange: Exchange, path: string): Promise<OwnReply>;
}

/**
 * @param root an existing folder
 * @throws Error when it does not exist, cannot be reached or is no folder
 */
export function openFileTree(root: string): FileTree {
  if (!statSync(root).isDirectory()) throw new Error(`"${root}" is not a folder`);
  return new Folder(root, realpathSync(root));
}

class Folder implements FileTree {
  #lookedMs = performance.now();

  constructor(
    readonly written: string,
    public root: string,
  ) {}

  async answer(exchange: Exchange, path: string): Promise<OwnReply> {
    const { method } = exchange;
    if (method !== "GET" && method !== "HEAD")
      return refuse(405, "files are read with GET or HEAD", [["Allow", "GET, HEAD"]]);
    const asked = readFilePath(path);
    if (asked === "bad") return refuse(400, "the path holds a bad escape, a control character or no UTF-8");
    if (asked === "hidden") return missing(path, "a dotfile or an encoded separator");
    this.#follow();
    try {
      return this.#find(exchange, asked.segments, asked.folder);
    } catch (error) {
      return unreadable(path, error as NodeJS.ErrnoException);
    }
  }

  /** Deployments swap the root's symlink under a running proxy; looking at each request would cost 3 µs. */
  #follow(): void {
    const now = performance.now();
    if (now - this.#lookedMs < folderLookMs) return;
    this.#lookedMs = now;
    try {
      this.root = realpathSync(this.written);
    } catch {
      // Gone for the moment: the requests find nothing, and say so.
    }
  }

  /** @throws what the file system says */
  #find(exchange: Exchange, segments: readonly string[], asFolder: boolean): OwnReply {
    const file = this.#below(segments.join("/"));
    const stats = statSync(file, { throwIfNoEntry: false });
    if (!stats) return missing(file, "ENOENT");
    if (!stats.isDirectory()) return asFolder ? missing(file, "not a folder") : this.#serve(exchange, file, stats);
    if (!asFolder || (segments.length === 0 && !pathOf(exchange.target).endsWith("/"))) {
      return isInside(this.root, realpathSync(file))
        ? slashed(exchange.target)
        : missing(file, "leads out of the root");
    }
    const index = file.endsWith("/") ? `${file}index.html` : `${file}/index.html`;
    const found = statSync(index, { throwIfNoEntry: false });
    return found ? this.#serve(exchange, index, found) : missing(index, "ENOENT");
  }

  #below(path: string): string {
    return this.root.endsWith("/") ? this.root + path : `${this.root}/${path}`;
  }

  #serve(exchange: Exchange, file: string, stats: Stats): OwnReply {
    // A FIFO or a device is not even opened: its other end would notice, or we would wait for it.
    if (!stats.isFile()) return missing(file, "not a regular file");
    const offered = compressible(file) ? neighbours(file, stats) : [];
    for (const encoding of acceptable(exchange.field("accept-encoding"), offered)) {
      const opened = Opened.below(this.root, file + encoding.suffix);
      if (opened) return send(exchange, opened, file, encoding, true);
    }
    const opened = Opened.below(this.root, file);
    if (!opened) return missing(file, "leads out of the root, or no regular file any more");
    return send(exchange, opened, file, undefined, offered.length > 0);
  }
}

/**
 * Precompressed neighbours that are not older than the file: a forgotten one would serve yesterday's content.
 * Whole seconds, because brotli copies the file's time to its output and loses the fraction.
 */
function neighbours(file: string, stats: Stats): readonly Encoding[] {
  const seconds = Math.floor(stats.mtimeMs / 1000);
  return encodings.filter((encoding) => {
    const found = statSync(file + encoding.suffix, { throwIfNoEntry: false });
    return found !== undefined && found.isFile() && Math.floor(found.mtimeMs / 1000) >= seconds;
  });
}

/** @param file as asked, before symlinks: its name gives the type */
function send(
  exchange: Exchange,
  opened: Opened,
  file: string,
  encoding: Encoding | undefined,
  varies: boolean,
): OwnReply {
  try {
    const { size, mtimeMs } = opened.stats;
    const now = Date.now();
    // A time ahead of our clock must not be sent (RFC 9110 8.8.2.1).
    const modifiedMs = Math.floor(Math.min(mtimeMs, now) / 1000) * 1000;
    const etag = tagOf(opened.stats, encoding);
    const fields: OwnReply["fields"] = [
      ["Last-Modified", writeHttpDate(modifiedMs)],
      ["ETag", etag],
    ];
    if (varies) fields.push(["Vary", "Accept-Encoding"]);
    const outcome = weigh(exchange, { etag, modifiedMs, bytes: size }, now);
    switch (outcome.status) {
      case 304:
        return { status: 304, fields, content: undefined, why: "" };
      case 412:
        return refuse(412, "the file is not the one the condition names", fields);
      case 416:
        return refuse(416, "the range lies beyond the end of the file", [
          ["Content-Range", `bytes */${size}`],
          ...fields,
        ]);
    }
    const { start, end } = outcome.status === 206 ? outcome : { start: 0, end: size };
    fields.push(["Accept-Ranges", "bytes"], ["Content-Type", mediaType(file)], ["Content-Length", String(end - start)]);
    if (encoding) fields.push(["Content-Encoding", encoding.coding]);
    if (outcome.status === 206) fields.push(["Content-Range", `bytes ${start}-${end - 1}/${size}`]);
    // BUN(1.4.4): a Blob of a file sends `content-disposition: filename="…"` with the name on disk for some types,
    // unless one is given; "inline" means what none means. Remove when it does not.
    if (end - start > fileBytesHeldMax) fields.push(["Content-Disposition", "inline"]);
    const reply = { status: outcome.status, fields, why: "" };
    if (exchange.method === "HEAD") return { ...reply, content: undefined };
    const content = contentOf(opened, start, end);
    return content
      ? { ...reply, content }
      : refuse(503, "the file is being changed", [["Retry-After", "1"]], `${file} became shorter`);
  } finally {
    opened.close();
  }
}

/**
 * Small contents are read from the file that was checked. They cost less so: 20 µs a request of 1 KiB against 38 with
 * `Bun.file`, 45 against 60 for 64 KiB (Bun.serve, wrk -c20, one core).
 *
 * BUN(1.4.4): for large ones Bun opens the path a second time. `Bun.file(fd)` would be the checked file itself, but
 * nobody tells when the fd may be closed (Bun neither duplicates nor closes it; closed early, the answer is cut). The
 * path has no symlinks left, so only someone who can rename folders inside the root wins that race. Remove when a
 * Response takes over its fd.
 */
function contentOf(opened: Opened, start: number, end: number): OwnReply["content"] {
  return end - start > fileBytesHeldMax ? Bun.file(opened.path).slice(start, end) : opened.read(start, end);
}

/** Microseconds and size, as nginx does with seconds; the encoding, because a neighbour may share both. */
function tagOf({ mtimeMs, size }: Stats, encoding: Encoding | undefined): string {
  const time = Math.floor(mtimeMs * 1000).toString(16);
  return `"${time}-${size.toString(16)}${encoding ? `-${encoding.coding}` : ""}"`;
}

/** To the folder's own URL, or the relative links of its index would miss it. */
function slashed(target: string): OwnReply {
  const path = pathOf(target);
  // A Location of "//name/" would be another host's.
  const location = `${path.replace(/^[/\\]+/, "/").replace(/[^\x21-\x7e]/g, escapeByte)}/${target.slice(path.length)}`;
  return refuse(301, "a folder's address ends in a slash", [["Location", location]], "");
}

function escapeByte(char: string): string {
  return `%${(char.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, "0")}`;
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

function missing(what: string, cause: string): OwnReply {
  return refuse(404, "no such file", [], `no such file: ${what} (${cause})`);
}

/** What a visitor may not see is not there; what we cannot do is our fault and may pass. */
function unreadable(path: string, { code = "error", message }: NodeJS.ErrnoException): OwnReply {
  if (absent.has(code)) return missing(path, code);
  if (code === "EMFILE" || code === "ENFILE" || code === "ENOMEM") {
    return refuse(503, "too busy to open the file", [["Retry-After", "1"]], `cannot open ${path}: ${message}`);
  }
  return refuse(500, "the file cannot be read", [], `cannot read ${path}: ${message}`);
}

const absent: ReadonlySet<string> = new Set([
  "ENOENT",
  "ENOTDIR",
  "ELOOP",
  "ENAMETOOLONG",
  "EACCES",
  "EPERM",
  "ENXIO",
  "EISDIR",
]);
