/** A browser: WebSocket, fetch and EventSource of headless Chromium through the proxy, in the clear and over TLS. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { openChromium } from "../support/chromium.ts";
import { madeBySelf, put, temporary } from "../support/certificates.ts";
import { startOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { type NodeProcess, startOrigin as startWebSocketOrigin } from "../support/websocket-bridge.ts";

setDefaultTimeout(120_000);

/** What the page did, by the name of the trial: its result, or "failed: …". */
type Report = Record<string, any>;

interface Visit {
  readonly reported: Report;
  readonly webSockets: NodeProcess;
  /** the browser's abort has reached the origin */
  abortSeen(): boolean;
}

/** Opens the page in a browser and waits for its report. @param engine of the TLS port; undefined = in the clear */
async function visit(stack: AsyncDisposableStack, engine: "socket" | "bun" | undefined): Promise<Visit> {
  let reported: Report | undefined;
  let abortSeen = false;
  const { origin: webSockets, port } = await startWebSocketOrigin();
  stack.use(webSockets);
  const origin = stack.use(
    await startOrigin(async (request, response) => {
      const path = request.url!.split("?")[0];
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks);
      if (path === "/") return void response.setHeader("Content-Type", "text/html; charset=utf-8").end(page);
      if (path === "/report") {
        reported = JSON.parse(body.toString());
        return void response.end("thanks");
      }
      if (path === "/text")
        return void response.setHeader("Set-Cookie", "seen=yes; Path=/").end(`hello ${request.headers.cookie ?? "-"}`);
      if (path === "/big") return void response.end(Buffer.alloc(5_000_000, "b"));
      if (path === "/post")
        return void response
          .setHeader("X-Sha1", createHash("sha1").update(body).digest("hex"))
          .end(String(body.length));
      if (path === "/moved") return void response.writeHead(302, { Location: "/text" }).end();
      if (path === "/image.svg") return void response.setHeader("Content-Type", "image/svg+xml").end(image);
      if (path === "/hang") return void response.on("close", () => (abortSeen = true)).write("first");
      if (path === "/events") {
        response.setHeader("Content-Type", "text/event-stream");
        response.flushHeaders();
        const from = Number(request.headers["last-event-id"] ?? 0);
        for (let id = from + 1; id <= from + 3; id++) {
          response.write(`id: ${id}\nevent: tick\ndata: line one of ${id}\ndata: line two\n\n`);
        }
        // The browser comes back by itself, with the last id it saw.
        response.end("retry: 20\n\n");
        return;
      }
      response.writeHead(404).end("no such page");
    }),
  );
  const rules = `
upstreams:
  DEFAULT:
    paths:
      "/": { servers: ["${origin.address}"] }
      "/echo": { healthcheck: false, servers: ["127.0.0.1:${port}"] }
      "/refuse": { healthcheck: false, servers: ["127.0.0.1:${port}"] }
      "/close": { healthcheck: false, servers: ["127.0.0.1:${port}"] }
`;
  const folder = stack.use(temporary()).path;
  const pair = madeBySelf({ names: ["DNS:localhost"], subject: "/CN=localhost" });
  put(folder, "site", pair);
  const proxy = stack.use(
    await startProxy(rules, {
      ...(engine && {
        listener_engine: engine,
        proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
        proxy_configs: folder,
      }),
    }),
  );
  const browser = stack.use(
    engine ? openChromium(`https://localhost:${proxy.tlsPort}/`, pair.crt) : openChromium(`${proxy.url}/`),
  );
  return {
    reported: await browser.until("the page's report", () => reported),
    webSockets,
    abortSeen: () => abortSeen,
  };
}

/** Runs in the browser: every trial by itself, so that one failure hides no other. */
async function inThePage(): Promise<void> {
  const page = globalThis as any;
  const trials: Record<string, () => Promise<unknown>> = {
    protocol: async () => [
      page.location.protocol,
      (page.performance.getEntriesByType("navigation")[0] as { nextHopProtocol: string }).nextHopProtocol,
    ],
    get: async () => {
      const answer = await fetch("/text");
      return [answer.status, await answer.text(), await (await fetch("/text")).text()];
    },
    redirect: async () => {
      const answer = await fetch("/moved");
      return [answer.redirected, answer.url.endsWith("/text")];
    },
    missing: async () => (await fetch("/missing")).status,
    big: async () => (await (await fetch("/big")).arrayBuffer()).byteLength,
    post: async () => {
      const body = new Uint8Array(3_000_000).fill(65);
      const answer = await fetch("/post", { method: "POST", body });
      return [await answer.text(), answer.headers.get("x-sha1")];
    },
    form: async () => {
      const form = new FormData();
      form.set("file", new Blob(["x".repeat(100_000)]), "a.txt");
      return Number(await (await fetch("/post", { method: "POST", body: form })).text()) > 100_000;
    },
    parallel: async () =>
      (await Promise.all(Array.from({ length: 60 }, async (_, i) => (await fetch(`/text?${i}`)).status))).every(
        (status) => status === 200,
      ),
    images: async () => {
      const { document, performance } = page;
      performance.setResourceTimingBufferSize(1_000);
      const load = (i: number) =>
        new Promise((resolve) => {
          const image = document.createElement("img");
          image.onload = () => resolve(image.naturalWidth);
          image.onerror = () => resolve("broken");
          image.src = `/image.svg?${i}`;
          document.body.append(image);
        });
      const widths = await Promise.all(Array.from({ length: 200 }, (_, i) => load(i)));
      const entries = performance.getEntriesByType("resource").filter(({ name }: any) => name.includes("/image.svg"));
      return [[...new Set(widths)], entries.length, [...new Set(entries.map((entry: any) => entry.nextHopProtocol))]];
    },
    abort: async () => {
      const abort = new AbortController();
      const answer = await fetch("/hang", { signal: abort.signal });
      const reader = answer.body!.getReader();
      const first = new TextDecoder().decode((await reader.read()).value);
      abort.abort();
      return [
        first,
        await reader.read().then(
          () => "read on",
          (error: Error) => error.name,
        ),
      ];
    },
    // Chromium sends a stream over HTTP/2 only; what it must not do is hang.
    stream: async () => {
      const body = new Blob(["streamed"]).stream();
      return fetch("/post", { method: "POST", body, duplex: "half" } as RequestInit).then(
        async (answer) => await answer.text(),
        (error: Error) => error.name,
      );
    },
    events: () =>
      new Promise((resolve, reject) => {
        const source = new page.EventSource("/events");
        const seen: unknown[] = [];
        source.addEventListener("tick", (event: MessageEvent) => {
          seen.push([event.lastEventId, event.data]);
          if (seen.length < 6) return;
          source.close();
          resolve(seen);
        });
        setTimeout(() => reject(new Error(`only ${JSON.stringify(seen)}`)), 20_000);
      }),
    webSocket: () =>
      new Promise((resolve) => {
        const socket = new WebSocket(`${page.location.origin.replace("http", "ws")}/echo`, ["chat", "other"]);
        const seen: unknown[] = [];
        socket.binaryType = "arraybuffer";
        socket.onopen = () => {
          socket.send("héllo");
          socket.send(new Uint8Array(1 << 20).fill(7));
        };
        socket.onmessage = ({ data }) => {
          seen.push(typeof data === "string" ? data : [data.byteLength, new Set(new Uint8Array(data)).size]);
          // Not right behind the large one: over HTTP/2 Chromium 156 keeps an empty message to itself then, through
          // HAProxy as well (8 of 10 times, with windows as large as ours).
          if (seen.length === 2) socket.send("");
          if (seen.length === 3) socket.close(4321, "enough");
        };
        socket.onclose = ({ code, reason, wasClean }) =>
          resolve({ seen, protocol: socket.protocol, code, reason, wasClean });
      }),
    webSocketClosed: () =>
      new Promise((resolve) => {
        const socket = new WebSocket(`${page.location.origin.replace("http", "ws")}/close?code=4000&reason=go+away`);
        socket.onclose = ({ code, reason }) => resolve([code, reason]);
      }),
    webSocketRefused: () =>
      new Promise((resolve) => {
        const socket = new WebSocket(`${page.location.origin.replace("http", "ws")}/refuse/403`);
        let opened = false;
        socket.onopen = () => (opened = true);
        socket.onclose = ({ code }) => resolve([opened, code]);
      }),
  };
  const report: Record<string, unknown> = {};
  for (const [name, trial] of Object.entries(trials)) {
    report[name] = await trial().catch((error: unknown) => `failed: ${error}`);
  }
  await fetch("/report", { method: "POST", body: JSON.stringify(report) });
}

const image = `<svg xmlns="http://www.w3.org/2000/svg" width="32" height="8"><desc>${"x".repeat(3_000)}</desc></svg>`;
const page = `<!doctype html><title>through the proxy</title><body><script>(${inThePage.toString()})()</script>`;
const ways = [
  { way: "in the clear", engine: undefined, protocol: ["http:", "http/1.1"] },
  { way: "over TLS, engine socket", engine: "socket", protocol: ["https:", "h2"] },
  { way: "over TLS, engine bun", engine: "bun", protocol: ["https:", "h2"] },
] as const;

for (const { way, engine, protocol } of ways) {
  describe(way, () => {
    const stack = new AsyncDisposableStack();
    let seen: Visit;
    beforeAll(async () => void (seen = await visit(stack, engine)));
    afterAll(() => stack.disposeAsync());
    const trial = (name: string) => seen.reported[name];

    test(`Chromium opens the page by ${protocol[1]}`, () => {
      expect(trial("protocol")).toEqual([...protocol]);
    });

    describe("Chromium's fetch", () => {
      test("gets a page, its cookie comes back, and a redirect is followed by the browser", () => {
        expect(trial("get")).toEqual([200, expect.stringMatching(/^hello /), "hello seen=yes"]);
        expect(trial("redirect")).toEqual([true, true]);
        expect(trial("missing")).toBe(404);
      });
      test("gets 5 MB, and 60 answers at once", () => {
        expect(trial("big")).toBe(5_000_000);
        expect(trial("parallel")).toBe(true);
      });
      test("loads a page with 200 images, all by the same protocol", () => {
        expect(trial("images")).toEqual([[32], 200, [protocol[1]]]);
      });
      test("posts bytes, a form and a stream", () => {
        expect(trial("post")).toEqual([
          "3000000",
          createHash("sha1").update(Buffer.alloc(3_000_000, 65)).digest("hex"),
        ]);
        expect(trial("form")).toBe(true);
        expect(["8", "TypeError"]).toContain(trial("stream"));
      });
      test("that is aborted ends at once, for the origin as well", async () => {
        expect(trial("abort")).toEqual(["first", "AbortError"]);
        await until(seen.abortSeen, "the abort to reach the origin");
      });
    });

    test("Chromium's EventSource gets each event, and goes on from the last one after the stream ended", () => {
      expect(trial("events")).toEqual([1, 2, 3, 4, 5, 6].map((id) => [String(id), `line one of ${id}\nline two`]));
    });

    describe("Chromium's WebSocket", () => {
      test("echoes text, 1 MiB and an empty message, with a subprotocol, and closes with its own code", async () => {
        expect(trial("webSocket")).toEqual({
          seen: ["héllo", [1 << 20, 1], ""],
          protocol: "chat",
          code: 4321,
          reason: "enough",
          wasClean: true,
        });
        expect(await seen.webSockets.event((e) => e.event === "close" && e.path === "/echo")).toMatchObject({
          code: 4321,
          reason: "enough",
        });
      });
      test("hears the server's close code", () => {
        expect(trial("webSocketClosed")).toEqual([4000, "go away"]);
      });
      test("that is refused never opens", () => {
        expect(trial("webSocketRefused")).toEqual([false, 1006]);
      });
    });
  });
}
