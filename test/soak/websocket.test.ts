/** Many WebSockets that all have much to say: none may fall silent (bun-facts 7: a batch once ran at 40 % for no known reason). */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { startNginx, type Nginx } from "../support/nginx.ts";
import { long } from "../support/programs.ts";
import { startProxyProcess, type ProxyProcess } from "../support/proxy-process.ts";
import { chat, webSockets, type Rate } from "./websocket-chat.ts";

const seconds = long ? 60 : 5;
/** No WebSocket may go so long without an echo while it waits for one. */
const silenceMsMax = 10_000;

setDefaultTimeout(seconds * 1000 + 60_000);

let echo: ReturnType<typeof Bun.spawn>;
let echoPort: number;
let nginx: Nginx;
let proxy: ProxyProcess;

beforeAll(async () => {
  echo = Bun.spawn([process.execPath, join(import.meta.dir, "websocket-echo.ts")], { stdout: "pipe" });
  const { value } = await (echo.stdout as ReadableStream<Uint8Array>).getReader().read();
  echoPort = Number(new TextDecoder().decode(value));
  nginx = await startNginx({
    server: `
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      location / { proxy_pass http://127.0.0.1:${echoPort}; }
      location /large { proxy_pass http://127.0.0.1:${echoPort}; proxy_buffer_size 64k; proxy_buffers 8 64k; }`,
  });
  proxy = await startProxyProcess(
    `upstreams: { DEFAULT: { paths: { "/": { healthcheck: false, servers: ["127.0.0.1:${echoPort}"] } } } }\n`,
  );
});

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await nginx?.[Symbol.asyncDispose]();
  echo?.kill();
  await echo?.exited;
});

const show = (name: string, { perSecond, longestMs, fewest }: Rate) =>
  `${name} ${Math.round(perSecond)}/s (longest wait ${Math.round(longestMs)} ms, fewest on one ${fewest})`;

describe(`${webSockets} WebSockets with messages of 16 KiB`, () => {
  test.each([1, 8])(
    `and %i in flight on each all go on for ${seconds} s`,
    async (inFlight) => {
      // Beside it, for the eye only: the same without a proxy, and through nginx with its defaults and with large buffers.
      const beside = Math.max(2, seconds / 6);
      const direct = await chat(echoPort, inFlight, beside);
      const theirs = await chat(nginx.port, inFlight, beside);
      const large = await chat(nginx.port, inFlight, beside, "/large");
      const ours = await chat(proxy.port, inFlight, seconds);
      console.log(
        `${inFlight} in flight: ${show("direct", direct)}, ${show("nginx", theirs)}, ${show("with large buffers", large)}, ` +
          `${show("ours", ours)}: ${(ours.perSecond / large.perSecond).toFixed(2)} of the faster nginx`,
      );
      expect(ours.faults).toEqual([]);
      expect(ours.fewest).toBeGreaterThan(0);
      expect(ours.longestMs).toBeLessThan(silenceMsMax);
      expect(proxy.faults()).toBe("");
    },
    4 * seconds * 1000 + 60_000,
  );
});
