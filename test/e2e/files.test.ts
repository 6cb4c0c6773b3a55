/** Static files as a route and as a listener of their own. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

function site(): string {
  const folder = mkdtempSync(join(tmpdir(), "aralez-site-"));
  mkdirSync(join(folder, "sub"));
  writeFileSync(join(folder, "index.html"), "<h1>root</h1>");
  writeFileSync(join(folder, "sub", "index.html"), "sub");
  writeFileSync(join(folder, "a.css"), "a { color: red }");
  writeFileSync(join(folder, "big.bin"), Buffer.alloc(3_000_000, 7));
  writeFileSync(join(folder, ".secret"), "no");
  symlinkSync("/etc/passwd", join(folder, "passwd"));
  return folder;
}

const get = (port: number, target: string, lines = "", method = "GET") =>
  raw(port, `${method} ${target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n${lines}\r\n`);

test("`files` serves a folder below the route's path, with the route's headers", async () => {
  const folder = site();
  await using proxy = await startProxy(
    `upstreams: { a.test: { paths: { "/static": { files: "${folder}", client_headers: ["X-Site: yes", "-ETag"] } } } }`,
    { access_log: "all" },
  );
  const css = await get(proxy.port, "/static/a.css");
  expect(css.status).toBe(200);
  expect(css.body).toBe("a { color: red }");
  expect(css.fields).toContainEqual(["content-type", "text/css; charset=utf-8"]);
  expect(css.fields).toContainEqual(["content-length", "16"]);
  expect(css.fields).toContainEqual(["x-site", "yes"]);
  expect(css.fields.some(([name]) => name === "etag")).toBe(false);
  expect((await get(proxy.port, "/static/")).body).toBe("<h1>root</h1>");
  expect((await get(proxy.port, "/static")).status).toBe(301);
  expect((await get(proxy.port, "/static/sub?x=1")).fields).toContainEqual(["location", "/static/sub/?x=1"]);
  expect((await get(proxy.port, "/%73tatic/a.css")).status).toBe(200);
  for (const attack of [
    "/static/.secret",
    "/static/passwd",
    "/static/..%2f..%2fetc/passwd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/static//etc/passwd",
    "/static/a.css/",
  ]) {
    expect([400, 404]).toContain((await get(proxy.port, attack)).status);
  }
  expect((await get(proxy.port, "/static/a.css", "", "POST")).status).toBe(405);
  await proxy.logged(/access - 200, GET \/static\/a.css/);
  rmSync(folder, { recursive: true });
});

test("large files keep their Content-Length, answer ranges and HEAD", async () => {
  const folder = site();
  await using proxy = await startProxy(`upstreams: { a.test: { paths: { "/": { files: "${folder}" } } } }`);
  const whole = await get(proxy.port, "/big.bin");
  expect(whole.fields).toContainEqual(["content-length", "3000000"]);
  expect(whole.body.length).toBe(3_000_000);
  const part = await get(proxy.port, "/big.bin", "Range: bytes=100-199\r\n");
  expect(part.status).toBe(206);
  expect(part.fields).toContainEqual(["content-range", "bytes 100-199/3000000"]);
  expect(part.body.length).toBe(100);
  const head = await get(proxy.port, "/big.bin", "", "HEAD");
  expect(head.status).toBe(200);
  expect(head.fields).toContainEqual(["content-length", "3000000"]);
  expect(head.body).toBe("");
  const etag = whole.fields.find(([name]) => name === "etag")![1];
  expect((await get(proxy.port, "/big.bin", `If-None-Match: ${etag}\r\n`)).status).toBe(304);
  rmSync(folder, { recursive: true });
});

test("file_server_folder and file_server_address serve on a listener of their own", async () => {
  const folder = site();
  await using proxy = await startProxy(`upstreams: { a.test: { paths: { "/": { redirect_to: "https://x.test" } } } }`, {
    file_server_folder: folder,
    file_server_address: { hostname: "127.0.0.1", port: 0 },
  });
  const port = Number(new URL(proxy.running.listeners.find(({ name }) => name === "files")!.url).port);
  expect((await get(port, "/")).body).toBe("<h1>root</h1>");
  expect((await get(port, "/none")).status).toBe(404);
  rmSync(folder, { recursive: true });
});
