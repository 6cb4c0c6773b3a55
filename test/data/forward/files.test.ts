/** Static files: what is served, how conditions and ranges are weighed, and what must never be reached. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { OwnReply } from "../../../src/data/exchange.ts";
import { openFileTree, type FileTree } from "../../../src/data/forward/files.ts";
import { fileBytesHeldMax } from "../../../src/lib/limits.ts";
import { contentOf, fieldOf, PlainExchange, serveReplies } from "../../support/plain-exchange.ts";

setDefaultTimeout(60_000);

const big = Uint8Array.from({ length: fileBytesHeldMax * 3 }, (_, i) => i % 251);
const longAgo = new Date("2024-05-06T07:08:09.250Z");
let base: string;
let tree: FileTree;

function put(name: string, content: string | Uint8Array, when = longAgo): void {
  const path = join(base, name);
  writeFileSync(path, content);
  utimesSync(path, when, when);
}

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "aralez-files-"));
  for (const folder of [
    "root",
    "root/sub",
    "root/bare",
    "root/.git",
    "root/.well-known",
    "root/evil.test",
    "outside",
    "outside/folder",
    "root/..data",
  ]) {
    mkdirSync(join(base, folder));
  }
  put("outside/secret.txt", "SECRET");
  put("outside/folder/index.html", "SECRET");
  put("secret.txt", "SECRET");
  put("root/index.html", "<h1>home</h1>");
  put("root/sub/index.html", "sub");
  put("root/a.css", "body{}");
  put("root/ten.txt", "0123456789");
  put("root/big.bin", big);
  put("root/big.zip", big);
  put("root/empty.txt", "");
  put("root/noextension", "x");
  put("root/ünïcode name+.TXT", "u");
  put("root/.env", "SECRET");
  put("root/.git/config", "SECRET");
  put("root/.well-known/x", "known");
  put("root/.well-known/.hidden", "SECRET");
  put("root/file.html", "file");
  put("root/..data/mounted.txt", "mounted");
  put("root/app.js", "x".repeat(500));
  put("root/app.js.br", brotliCompressSync("x".repeat(500)));
  put("root/app.js.gz", gzipSync("x".repeat(500)));
  put("root/stale.js", "new", new Date("2024-06-01"));
  put("root/stale.js.gz", gzipSync("old"), new Date("2024-05-01"));
  put("root/photo.png", "png");
  put("root/photo.png.gz", "SECRET");
  put("root/leak.js", "leak");
  put("root/closed.txt", "SECRET");
  chmodSync(join(base, "root/closed.txt"), 0);
  symlinkSync(join(base, "outside/secret.txt"), join(base, "root/leak.js.gz"));
  symlinkSync(join(base, "outside/secret.txt"), join(base, "root/out.txt"));
  symlinkSync("../outside", join(base, "root/outfolder"));
  symlinkSync("ten.txt", join(base, "root/in.txt"));
  symlinkSync("sub", join(base, "root/insub"));
  symlinkSync("..data/mounted.txt", join(base, "root/mounted.txt"));
  symlinkSync("loop", join(base, "root/loop"));
  symlinkSync("nowhere", join(base, "root/dangling"));
  symlinkSync("/etc/passwd", join(base, "root/passwd"));
  // A sibling whose name begins like the root's must not count as inside.
  mkdirSync(join(base, "root-private"));
  put("root-private/secret.txt", "SECRET");
  symlinkSync("../root-private/secret.txt", join(base, "root/sibling.txt"));
  if (Bun.spawnSync(["mkfifo", join(base, "root/fifo"), join(base, "root/fifo.html")]).exitCode !== 0)
    throw new Error("mkfifo failed");
  tree = openFileTree(join(base, "root"));
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

function ask(target: string, fields: Record<string, string> = {}, method = "GET", from = tree): Promise<OwnReply> {
  return from.answer(new PlainExchange({ method, target, fields }), target.split("?")[0]!);
}

describe("a file", () => {
  test("comes with its type, length, validators and content", async () => {
    const reply = await ask("/a.css?v=1");
    expect(reply.status).toBe(200);
    expect(await contentOf(reply)).toBe("body{}");
    expect(fieldOf(reply, "content-type")).toBe("text/css; charset=utf-8");
    expect(fieldOf(reply, "content-length")).toBe("6");
    expect(fieldOf(reply, "last-modified")).toBe("Mon, 06 May 2024 07:08:09 GMT");
    expect(fieldOf(reply, "etag")).toMatch(/^"[0-9a-f]+-6"$/);
    expect(fieldOf(reply, "accept-ranges")).toBe("bytes");
    expect(fieldOf(reply, "vary")).toBeUndefined();
    expect(reply.why).toBe("");
  });

  test("may be empty, may have no extension, and may have a name beyond ASCII", async () => {
    const empty = await ask("/empty.txt");
    expect([empty.status, await contentOf(empty), fieldOf(empty, "content-length")]).toEqual([200, "", "0"]);
    expect(fieldOf(await ask("/noextension"), "content-type")).toBe("application/octet-stream");
    const raw = Buffer.from("/ünïcode name+.TXT", "utf8").toString("latin1");
    for (const target of ["/%C3%BCn%c3%afcode%20name%2b.TXT", raw]) {
      const reply = await ask(target);
      expect([reply.status, await contentOf(reply)]).toEqual([200, "u"]);
      expect(fieldOf(reply, "content-type")).toBe("text/plain; charset=utf-8");
    }
  });

  test("gives HEAD the fields of GET and no content", async () => {
    for (const path of ["/a.css", "/big.bin", "/empty.txt", "/app.js"]) {
      const fields = { "accept-encoding": "br" };
      const [get, head] = [await ask(path, fields), await ask(path, fields, "HEAD")];
      expect(head.fields).toEqual(get.fields);
      expect([head.status, head.content]).toEqual([200, undefined]);
    }
  });

  test("is only read: other methods get 405 with Allow", async () => {
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "get"]) {
      const reply = await ask("/a.css", {}, method);
      expect([reply.status, fieldOf(reply, "allow")]).toEqual([405, "GET, HEAD"]);
    }
  });

  test("that changes has another ETag, even within its second", async () => {
    put("root/same.txt", "aaaa", new Date("2024-05-06T07:08:09.100Z"));
    const before = fieldOf(await ask("/same.txt"), "etag");
    put("root/same.txt", "bbbb", new Date("2024-05-06T07:08:09.200Z"));
    expect(fieldOf(await ask("/same.txt"), "etag")).not.toBe(before!);
  });

  test("with a time in the future is not sent with it", async () => {
    put("root/future.txt", "f", new Date(Date.now() + 86_400_000));
    expect(Date.parse(fieldOf(await ask("/future.txt"), "last-modified")!)).toBeLessThanOrEqual(Date.now());
  });

  test("leaves nothing open behind, whatever the answer", async () => {
    const before = readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 50; i++) {
      for (const target of ["/ten.txt", "/big.bin", "/out.txt", "/leak.js"]) {
        await ask(target, { range: "bytes=0-3", "accept-encoding": "gzip" });
        await ask(target, { "if-match": '"other"' }, "HEAD");
        await ask(target, { range: "bytes=9999999-" });
      }
    }
    expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 50);
  });
});

describe("a folder", () => {
  test("shows its index.html", async () => {
    expect(await contentOf(await ask("/"))).toBe("<h1>home</h1>");
    expect(await contentOf(await ask("/sub/"))).toBe("sub");
    expect(await contentOf(await ask("/sub/."))).toBe("sub");
    expect(await contentOf(await ask("/insub/"))).toBe("sub");
  });

  test("without index.html is not found, never listed", async () => {
    expect((await ask("/bare/")).status).toBe(404);
  });

  test("asked without its slash is redirected there, mount and query kept", async () => {
    const at = async (target: string, path: string) => {
      const reply = await tree.answer(new PlainExchange({ target }), path);
      return [reply.status, fieldOf(reply, "location")];
    };
    expect(await at("/sub", "/sub")).toEqual([301, "/sub/"]);
    expect(await at("/static/sub?a=1&b=/", "/sub")).toEqual([301, "/static/sub/?a=1&b=/"]);
    expect(await at("/static?q", "/")).toEqual([301, "/static/?q"]);
    expect(await at("/static/?q", "/")).toEqual([200, undefined]);
    expect(await at("/static/%73ub", "/%73ub")).toEqual([301, "/static/%73ub/"]);
  });

  test("never redirects to another host", async () => {
    for (const target of ["//evil.test", "///evil.test", "/./evil.test"]) {
      const reply = await ask(target);
      expect(reply.status).toBe(301);
      expect(new URL(fieldOf(reply, "location")!, "http://a.test/").host).toBe("a.test");
    }
  });
});

describe("conditions", () => {
  const soon = "Tue, 07 May 2024 00:00:00 GMT";
  const exact = "Mon, 06 May 2024 07:08:09 GMT";
  const before = "Sun, 05 May 2024 00:00:00 GMT";
  const tag = async () => fieldOf(await ask("/ten.txt"), "etag")!;
  const status = async (fields: Record<string, string>, method = "GET") =>
    (await ask("/ten.txt", fields, method)).status;

  test("If-None-Match compares weakly and answers 304 with the validators only", async () => {
    const etag = await tag();
    for (const value of [etag, `W/${etag}`, `"other", ${etag}`, `"a,b" ,W/${etag},"c"`, "*"]) {
      expect(await status({ "if-none-match": value })).toBe(304);
      expect(await status({ "if-none-match": value }, "HEAD")).toBe(304);
    }
    for (const value of ['"other"', etag.slice(1), `"x${etag.slice(1)}`, `x${etag}`, ""])
      expect(await status({ "if-none-match": value })).toBe(200);
    const reply = await ask("/ten.txt", { "if-none-match": etag });
    expect(reply.fields.map(([name]) => name)).toEqual(["Last-Modified", "ETag"]);
    expect(reply.content).toBeUndefined();
  });

  test("If-Modified-Since reads the three date forms, ignores others, and yields to If-None-Match", async () => {
    for (const date of [exact, soon, "Monday, 06-May-24 07:08:09 GMT", "Mon May  6 07:08:09 2024"]) {
      expect(await status({ "if-modified-since": date })).toBe(304);
    }
    for (const date of [
      before,
      "2025-01-01",
      "Tue, 31 Feb 2025 00:00:00 GMT",
      "Tue, 07 May 2024 25:00:00 GMT",
      "",
      "tomorrow",
    ]) {
      expect(await status({ "if-modified-since": date })).toBe(200);
    }
    expect(await status({ "if-modified-since": soon, "if-none-match": '"other"' })).toBe(200);
  });

  test("If-Match compares strongly, yields 412, and wins over If-Unmodified-Since", async () => {
    const etag = await tag();
    for (const value of [etag, `"other", ${etag}`, "*"])
      expect(await status({ "if-match": value, "if-unmodified-since": before })).toBe(200);
    for (const value of [`W/${etag}`, '"other"', ""]) expect(await status({ "if-match": value })).toBe(412);
    expect(await status({ "if-unmodified-since": before })).toBe(412);
    expect(await status({ "if-unmodified-since": exact })).toBe(200);
    expect(await status({ "if-unmodified-since": "garbage" })).toBe(200);
    expect(await status({ "if-match": '"other"', "if-none-match": etag })).toBe(412);
    expect(await status({ "if-match": etag, "if-none-match": etag })).toBe(304);
  });
});

describe("a range", () => {
  const part = async (range: string, fields: Record<string, string> = {}, path = "/ten.txt") => {
    const reply = await ask(path, { range, ...fields });
    return [reply.status, await contentOf(reply), fieldOf(reply, "content-range"), fieldOf(reply, "content-length")];
  };

  test("is answered with 206 and just those bytes", async () => {
    expect(await part("bytes=0-0")).toEqual([206, "0", "bytes 0-0/10", "1"]);
    expect(await part("bytes=2-4")).toEqual([206, "234", "bytes 2-4/10", "3"]);
    expect(await part("bytes=7-")).toEqual([206, "789", "bytes 7-9/10", "3"]);
    expect(await part("bytes=-3")).toEqual([206, "789", "bytes 7-9/10", "3"]);
    expect(await part("bytes=-99")).toEqual([206, "0123456789", "bytes 0-9/10", "10"]);
    expect(await part("bytes=8-99999999999999999999999")).toEqual([206, "89", "bytes 8-9/10", "2"]);
    expect(await part("Bytes=2-4")).toEqual([206, "234", "bytes 2-4/10", "3"]);
  });

  test("beyond the end is 416 and says how long the file is", async () => {
    for (const range of ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"]) {
      const reply = await ask("/ten.txt", { range });
      expect([reply.status, fieldOf(reply, "content-range")]).toEqual([416, "bytes */10"]);
    }
  });

  test("that is none, or several, or longer than sensible, gets the whole file", async () => {
    const many = `bytes=${Array.from({ length: 200 }, (_, i) => `${i}-`).join(",")}`;
    for (const range of [
      "bytes=4-2",
      "bytes=-",
      "bytes=",
      "bytes=a-b",
      "lines=1-2",
      "bytes=0-1,3-4",
      "bytes 0-1",
      "bytes=1.5-2",
      "bytes=--1",
      many,
    ]) {
      expect(await part(range)).toEqual([200, "0123456789", undefined, "10"]);
    }
    expect((await ask("/ten.txt", { range: "bytes=0-1" }, "HEAD")).status).toBe(200);
    expect((await part("bytes=0-1", {}, "/empty.txt"))[0]).toBe(200);
  });

  test("counts only while If-Range names the current file", async () => {
    const etag = fieldOf(await ask("/ten.txt"), "etag")!;
    const range = "bytes=0-1";
    for (const value of [etag, "Mon, 06 May 2024 07:08:09 GMT"])
      expect((await part(range, { "if-range": value }))[0]).toBe(206);
    for (const value of [`W/${etag}`, '"other"', "Tue, 07 May 2024 00:00:00 GMT", "garbage", ""]) {
      expect((await part(range, { "if-range": value }))[0]).toBe(200);
    }
    expect((await part("bytes=50-", { "if-range": '"other"' }))[0]).toBe(200);
    expect((await part(range, { "if-none-match": etag }))[0]).toBe(304);
  });

  test("of a large file is cut out of it", async () => {
    const reply = await ask("/big.bin", { range: `bytes=100-${fileBytesHeldMax + 299}` });
    expect(new Uint8Array(await new Response(reply.content).arrayBuffer())).toEqual(
      big.slice(100, fileBytesHeldMax + 300),
    );
  });
});

describe("a precompressed neighbour", () => {
  const coded = async (accept: string | undefined, path = "/app.js") => {
    const reply = await ask(path, accept === undefined ? {} : { "accept-encoding": accept });
    return fieldOf(reply, "content-encoding") ?? "";
  };

  test("is chosen by what the client accepts", async () => {
    expect(await coded("gzip, deflate, br, zstd")).toBe("br");
    expect(await coded("gzip")).toBe("gzip");
    expect(await coded("x-gzip")).toBe("gzip");
    expect(await coded("GZIP;q=0.5")).toBe("gzip");
    expect(await coded("br;q=0.1, gzip;q=0.2")).toBe("gzip");
    expect(await coded("br;q=0, *")).toBe("gzip");
    expect(await coded("*")).toBe("br");
    for (const plain of [
      undefined,
      "",
      "identity",
      "deflate",
      "br;q=0, gzip;q=0.000",
      "*;q=0",
      "identity, br;q=0.5",
      "br;q=x",
      "br;q=2",
    ]) {
      expect(await coded(plain)).toBe("");
    }
  });

  test("keeps the file's own type, has its own ETag, and makes every answer vary", async () => {
    const tags = new Set<string>();
    for (const accept of ["br", "gzip", "identity"]) {
      const reply = await ask("/app.js", { "accept-encoding": accept });
      expect(fieldOf(reply, "content-type")).toBe("text/javascript; charset=utf-8");
      expect(fieldOf(reply, "vary")).toBe("Accept-Encoding");
      tags.add(fieldOf(reply, "etag")!);
    }
    expect(tags.size).toBe(3);
    const etag = fieldOf(await ask("/app.js", { "accept-encoding": "br" }), "etag")!;
    const unchanged = await ask("/app.js", { "accept-encoding": "br", "if-none-match": etag });
    expect([unchanged.status, fieldOf(unchanged, "vary")]).toEqual([304, "Accept-Encoding"]);
    expect((await ask("/app.js", { "accept-encoding": "gzip", "if-none-match": etag })).status).toBe(200);
  });

  test("answers a range out of the compressed bytes", async () => {
    const compressed = brotliCompressSync("x".repeat(500));
    const reply = await ask("/app.js", { "accept-encoding": "br", range: "bytes=2-5" });
    expect([reply.status, fieldOf(reply, "content-encoding"), fieldOf(reply, "content-range")]).toEqual([
      206,
      "br",
      `bytes 2-5/${compressed.length}`,
    ]);
    expect(new Uint8Array(await new Response(reply.content).arrayBuffer())).toEqual(
      new Uint8Array(compressed.subarray(2, 6)),
    );
  });

  test("is left alone when it is older than the file, leads outside, or the file is packed already", async () => {
    expect(await coded("gzip", "/stale.js")).toBe("");
    const leak = await ask("/leak.js", { "accept-encoding": "gzip" });
    expect([leak.status, await contentOf(leak), fieldOf(leak, "content-encoding")]).toEqual([200, "leak", undefined]);
    expect(await coded("gzip", "/photo.png")).toBe("");
  });
});

describe("nobody gets out of the root", () => {
  const nothing: [string, number][] = [
    ["/../secret.txt", 404],
    ["/../../../../etc/passwd", 404],
    ["/sub/../../secret.txt", 404],
    ["/..%2fsecret.txt", 404],
    ["/%2e%2e/secret.txt", 404],
    ["/%2e%2e%2fsecret.txt", 404],
    ["/%252e%252e/secret.txt", 404],
    ["/..%5csecret.txt", 404],
    ["/..\\secret.txt", 404],
    ["/sub%2f..%2f..%2fsecret.txt", 404],
    ["/..;/secret.txt", 404],
    ["/index.html/..;/", 404],
    ["/.../secret.txt", 404],
    ["//etc/passwd", 404],
    ["/%2fetc%2fpasswd", 404],
    ["/%c0%ae%c0%ae/secret.txt", 400],
    ["/%e0%80%ae/secret.txt", 400],
    ["/\xc0\xae\xc0\xae/secret.txt", 400],
    ["/%ff.txt", 400],
    ["/%00", 400],
    ["/ten.txt%00.html", 400],
    ["/ten.txt\0", 400],
    ["/%0d%0aX: y", 400],
    ["/%7f", 400],
    ["/%zz", 400],
    ["/%", 400],
    ["/%4", 400],
    ["/out.txt", 404],
    ["/outfolder", 404],
    ["/outfolder/", 404],
    ["/outfolder/secret.txt", 404],
    ["/outfolder/folder", 404],
    ["/outfolder/folder/", 404],
    ["/sibling.txt", 404],
    ["/passwd", 404],
    ["/loop", 404],
    ["/dangling", 404],
    ["/.env", 404],
    ["/%2eenv", 404],
    ["/.git/config", 404],
    ["/.git", 404],
    ["/sub/../.env", 404],
    ["/.well-known/.hidden", 404],
    ["/sub/.well-known/x", 404],
    ["/..data/mounted.txt", 404],
    ["/fifo", 404],
    ["/fifo.html", 404],
    ["/file.html/", 404],
    ["/file.html/index.html", 404],
    ["/index.html/.", 404],
    ["/nothing", 404],
    [`/${"a".repeat(300)}`, 404],
    [`/${"a/".repeat(20_000)}`, 404],
    [`/${"../".repeat(20_000)}secret.txt`, 404],
  ];
  for (const [target, status] of nothing) {
    test(`${target.slice(0, 40).replace(/[^\x21-\x7e]/g, "·")} is ${status}`, async () => {
      const reply = await ask(target);
      expect(reply.status).toBe(status);
      expect(await contentOf(reply)).not.toContain("SECRET");
      expect(reply.why).not.toBe("");
    });
  }

  test("while links inside it, mounted ConfigMaps, dots that stay inside and /.well-known/ are served", async () => {
    for (const [target, text] of [
      ["/in.txt", "0123456789"],
      ["/insub/index.html", "sub"],
      ["/mounted.txt", "mounted"],
      ["/.well-known/x", "known"],
      ["/sub/../ten.txt", "0123456789"],
      ["/sub/./%2e%2E//ten.txt", "0123456789"],
      ["/../ten.txt", "0123456789"],
    ] as const) {
      expect(await contentOf(await ask(target))).toBe(text);
    }
  });

  test("and a 404 does not tell where the files lie", async () => {
    for (const target of ["/out.txt", "/nothing", "/closed.txt/x"])
      expect(await contentOf(await ask(target))).toBe("404 Not Found: no such file\n");
  });

  test.skipIf(process.getuid?.() === 0)("a file that may not be read is not there, and the log says why", async () => {
    const reply = await ask("/closed.txt");
    expect([reply.status, await contentOf(reply)]).toEqual([404, "404 Not Found: no such file\n"]);
    expect(reply.why).toContain("EACCES");
  });

  test("not even while the file is swapped for a link to the outside under load", async () => {
    const swap = `
      const { renameSync, symlinkSync, writeFileSync } = require("node:fs");
      for (;;) {
        writeFileSync("root/swapped.new", "fine");
        renameSync("root/swapped.new", "root/swapped.txt");
        symlinkSync("../secret.txt", "root/swapped.new");
        renameSync("root/swapped.new", "root/swapped.txt");
      }`;
    writeFileSync(join(base, "root/swapped.txt"), "fine");
    const swapper = Bun.spawn([process.execPath, "-e", swap], { cwd: base });
    const seen = new Set<string>();
    const deadline = performance.now() + 20_000;
    for (let i = 0; i < 5_000 || !(seen.has("fine") && seen.size > 1); i++) {
      if (performance.now() > deadline) break;
      seen.add(await contentOf(await ask("/swapped.txt")));
    }
    swapper.kill();
    await swapper.exited;
    expect([...seen].sort()).toEqual(["404 Not Found: no such file\n", "fine"]);
  });
});

describe("the root", () => {
  test("must be a folder that exists", () => {
    expect(() => openFileTree(join(base, "nothing"))).toThrow("ENOENT");
    expect(() => openFileTree(join(base, "root/ten.txt"))).toThrow("is not a folder");
  });

  test("that is a symlink is followed when a deployment swaps it", async () => {
    for (const release of ["one", "two"]) {
      mkdirSync(join(base, release));
      put(`${release}/v.txt`, release);
    }
    symlinkSync("one", join(base, "current"));
    const deployed = openFileTree(join(base, "current"));
    expect(await contentOf(await ask("/v.txt", {}, "GET", deployed))).toBe("one");
    symlinkSync("two", join(base, "next"));
    renameSync(join(base, "next"), join(base, "current"));
    const deadline = performance.now() + 20_000;
    while ((await contentOf(await ask("/v.txt", {}, "GET", deployed))) !== "two") {
      if (performance.now() > deadline) throw new Error("still the old release");
      await Bun.sleep(20);
    }
    unlinkSync(join(base, "current"));
    expect((await ask("/v.txt", {}, "GET", deployed)).status).toBe(200);
  });
});

describe("over Bun.serve", () => {
  let server: Bun.Server<undefined>;
  beforeAll(() => {
    server = serveReplies((exchange) => tree.answer(exchange, exchange.target.split("?")[0]!));
  });
  afterAll(() => server.stop(true));

  const raw = (head: string) =>
    new Promise<Buffer>((resolve, reject) => {
      const chunks: Buffer[] = [];
      const socket = connect(server.port!, "127.0.0.1", () =>
        socket.write(`${head}\r\nHost: a.test\r\nConnection: close\r\n\r\n`),
      );
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("error", reject);
      socket.on("close", () => resolve(Buffer.concat(chunks)));
    });

  const send = async (method: string, target: string, ...lines: string[]) => {
    const bytes = await raw([`${method} ${target} HTTP/1.1`, ...lines].join("\r\n"));
    const cut = bytes.indexOf("\r\n\r\n");
    const [line, ...fields] = bytes.toString("latin1", 0, cut).split("\r\n");
    const names = fields.map((field) => field.slice(0, field.indexOf(":")).toLowerCase());
    const value = (name: string) => fields[names.indexOf(name)]?.split(": ")[1];
    return { status: Number(line!.split(" ")[1]), names, value, body: new Uint8Array(bytes.subarray(cut + 4)) };
  };

  test("files of every size keep their Content-Length, and large ones their bytes", async () => {
    for (const [path, length] of [
      ["/ten.txt", 10],
      ["/big.bin", big.length],
      ["/big.zip", big.length],
      ["/empty.txt", 0],
    ] as const) {
      for (const method of ["GET", "HEAD"]) {
        const answer = await send(method, path);
        expect([answer.status, answer.value("content-length"), answer.value("transfer-encoding")]).toEqual([
          200,
          String(length),
          undefined,
        ]);
        expect(answer.names).toEqual([...new Set(answer.names)]);
        expect(answer.body.length).toBe(method === "HEAD" ? 0 : length);
      }
    }
    expect((await send("GET", "/big.bin")).body).toEqual(big);
  });

  test("the name of a large file on disk stays unsaid", async () => {
    expect((await send("GET", "/big.zip")).value("content-disposition")).toBe("inline");
  });

  test("Bun's own reading of Range never contradicts ours", async () => {
    const far = fileBytesHeldMax + 10;
    for (const [fields, status, length] of [
      [[`Range: bytes=5-${far}`], 206, far - 4],
      [["Range: bytes=0-9"], 206, 10],
      [["Range: bytes=0-9,20-29"], 200, big.length],
      [["Range: bytes=9-0"], 200, big.length],
      [["Range: bytes=0-9", 'If-Range: "other"'], 200, big.length],
      [["Range: bytes=0-9", "If-Range: Mon, 06 May 2024 07:08:09 GMT"], 206, 10],
      [[`Range: bytes=${big.length}-`], 416, undefined],
    ] as const) {
      const answer = await send("GET", "/big.zip", ...fields);
      expect(answer.status).toBe(status);
      if (length !== undefined)
        expect([answer.value("content-length"), answer.body.length]).toEqual([String(length), length]);
      if (status === 206)
        expect(answer.body).toEqual(
          big.slice(fields[0].includes("=5-") ? 5 : 0, (fields[0].includes("=5-") ? 5 : 0) + length!),
        );
    }
  });

  test("a file larger than 4 GiB gives its length and its last bytes", async () => {
    const bytes = 5 * 2 ** 30;
    writeFileSync(join(base, "root/huge.iso"), "");
    truncateSync(join(base, "root/huge.iso"), bytes);
    expect((await send("HEAD", "/huge.iso")).value("content-length")).toBe(String(bytes));
    const tail = await send("GET", "/huge.iso", "Range: bytes=-100000");
    expect([tail.status, tail.body.length, tail.value("content-range")]).toEqual([
      206,
      100_000,
      `bytes ${bytes - 100_000}-${bytes - 1}/${bytes}`,
    ]);
    unlinkSync(join(base, "root/huge.iso"));
  });

  test("304 has no content and no length", async () => {
    const etag = (await send("GET", "/ten.txt")).value("etag")!;
    const answer = await send("GET", "/ten.txt", `If-None-Match: ${etag}`);
    expect([answer.status, answer.value("content-length"), answer.body.length]).toEqual([304, undefined, 0]);
  });

  test("a large file truncated while it is sent never looks complete, and the server lives on", async () => {
    const size = 32 * 1024 * 1024;
    writeFileSync(join(base, "root/cut.bin"), "");
    truncateSync(join(base, "root/cut.bin"), size);
    const got = await new Promise<number>((resolve, reject) => {
      let bytes = 0;
      const socket = connect(server.port!, "127.0.0.1", () =>
        socket.write("GET /cut.bin HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"),
      );
      socket.once("data", () => {
        socket.pause();
        truncateSync(join(base, "root/cut.bin"), 1000);
        socket.resume();
      });
      socket.on("data", (chunk) => (bytes += chunk.length));
      socket.on("error", reject);
      // Bun notices at its idle timeout; leaving early is as good a proof that the rest does not come.
      socket.setTimeout(1_000, () => socket.destroy());
      socket.on("close", () => resolve(bytes));
    });
    expect(got).toBeLessThan(size);
    expect((await send("GET", "/ten.txt")).status).toBe(200);
  });

  test("raw targets of attackers find nothing", async () => {
    for (const target of [
      "/../secret.txt",
      "/..%2fsecret.txt",
      "/%2e%2e/secret.txt",
      "/..%5csecret.txt",
      "/..\\secret.txt",
      "//etc/passwd",
      "/%00",
      "/fifo",
      "/.env",
    ]) {
      const text = (await raw(`GET ${target} HTTP/1.1`)).toString("latin1");
      expect(text).toMatch(/^HTTP\/1.1 4\d\d /);
      expect(text).not.toContain("SECRET");
      expect(text).not.toContain("root:");
    }
  });
});
