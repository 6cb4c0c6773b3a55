/** HTTP/2 as others see it: every case of h2spec, and nghttp2's own client and server. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { runH2spec } from "../support/h2spec.ts";
import { say, startHttp2Site } from "../support/http2-site.ts";
import { startOrigin } from "../support/origins.ts";
import { Program } from "../support/programs.ts";
import { startProxy, until } from "../support/proxy.ts";

setDefaultTimeout(240_000);

/** Some cases send a second frame on a stream, which must not be over by then. */
async function hello() {
  await Bun.sleep(20);
  return say("hello");
}

describe("h2spec", () => {
  test("over TLS: every case", async () => {
    await using site = await startHttp2Site(hello, { tls: true });
    const { passed, failed } = await runH2spec(site.port, ["-t", "-k"]);
    expect(failed).toEqual([]);
    expect(passed).toBe(146);
    expect(site.faults).toEqual([]);
  });

  test("by prior knowledge, without HTTP/1.1 on the port: every case", async () => {
    await using site = await startHttp2Site(hello);
    const { passed, failed } = await runH2spec(site.port);
    expect(failed).toEqual([]);
    expect(passed).toBe(146);
    expect(site.faults).toEqual([]);
  });

  test("through the proxy on its plain port: every case but one", async () => {
    await using origin = await startOrigin((_, response) => void setTimeout(() => response.end("hello"), 20));
    await using proxy = await startProxy(
      `upstreams: { DEFAULT: { paths: { "/": { servers: ["${origin.address}"] } } } }\n`,
      {
        listener_engine: "socket",
      },
    );
    const { passed, failed } = await runH2spec(proxy.port);
    // The port speaks HTTP/1.1 as well, which answers a preface that is none of HTTP/2's with 400 before it closes.
    expect(failed).toEqual(["2: Sends invalid connection preface"]);
    expect(passed).toBe(145);
  });
});

/** What h2load counted: requests that succeeded, of how many. */
async function load(port: number, streams: number, more: readonly string[] = [], path = "/"): Promise<string> {
  const url = `http://127.0.0.1:${port}${path}`;
  await using program = new Program("h2load", ["-n", "2000", "-c", "4", "-m", String(streams), ...more, url]);
  await program.end();
  return /requests: .*/.exec(program.output)?.[0] ?? program.output;
}

describe("nghttp2", () => {
  test("h2load with 1, 10 and 100 streams, and with small windows: no request fails, on either side", async () => {
    const folder = mkdtempSync(join(tmpdir(), "aralez-nghttpd-"));
    writeFileSync(join(folder, "index.html"), "hello");
    writeFileSync(join(folder, "large"), Buffer.alloc(200_000, "x"));
    const port = freePort();
    try {
      await using nghttpd = new Program("nghttpd", ["--no-tls", "-a", "127.0.0.1", "-d", folder, String(port)]);
      await nghttpd.until("it listens", async () => {
        const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }).catch(() => undefined);
        socket?.end();
        return socket !== undefined;
      });
      await using proxy = await startProxy(
        `upstreams: { DEFAULT: { paths: { "/": { servers: ["127.0.0.1:${port}"] } } } }\n`,
        {
          listener_engine: "socket",
          upstream_engine: "socket",
        },
      );
      await until(async () => (await fetch(proxy.url)).status === 200);
      const all = "requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout";
      for (const streams of [1, 10, 100]) expect(await load(proxy.port, streams)).toBe(all);
      expect(await load(proxy.port, 10, ["-w", "10", "-W", "12"], "/large")).toBe(all);
      expect(await load(proxy.port, 10, ["-w", "20", "-W", "20"], "/large")).toBe(all);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("h2load over TLS: large answers, in windows small and large", async () => {
    const large = new Uint8Array(300_000).fill(120);
    const answer = { status: 200, fields: [], content: large, why: "" };
    await using site = await startHttp2Site(() => answer, { tls: true });
    for (const bits of ["12", "16", "24"]) {
      const url = `https://127.0.0.1:${site.port}/`;
      await using program = new Program("h2load", ["-n", "400", "-c", "4", "-m", "10", "-w", bits, "-W", bits, url]);
      await program.end();
      expect(program.output).toContain("400 succeeded, 0 failed, 0 errored");
      expect(program.output).toContain("(120000000) data");
    }
    expect(site.faults).toEqual([]);
  });

  test("nghttp: padding, a dependency, trailers, a body", async () => {
    await using origin = await startOrigin();
    await using proxy = await startProxy(
      `upstreams: { DEFAULT: { paths: { "/": { servers: ["${origin.address}"] } } } }\n`,
      {
        listener_engine: "socket",
      },
    );
    const args = [
      "-v",
      "--no-dep",
      "-b",
      "100",
      "--trailer",
      "x-sum: 1",
      "-d",
      "/etc/hostname",
      `http://127.0.0.1:${proxy.port}/`,
    ];
    await using program = new Program("nghttp", args);
    expect(await program.end()).toBe(0);
    expect(program.output).toContain(":status: 200");
    expect(origin.requests[0]!.body.length).toBeGreaterThan(0);
  });
});
