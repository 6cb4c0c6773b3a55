/** The demo: two built-in upstreams on loopback and a proxy in front of them, without any file. */
import { loadSettings } from "../config/load-settings.ts";
import { serve } from "./serve.ts";
import type { Call } from "./verb.ts";

const portWanted = 8080;

export async function run({ env }: Call): Promise<number> {
  const upstreams = ["alder", "birch"].map(serveUpstream);
  const servers = upstreams.map(({ port }) => `"127.0.0.1:${port}"`).join(", ");
  const text = `provider: file\nupstreams:\n  DEFAULT:\n    paths:\n      "/":\n        servers: [${servers}]\n`;
  // No environment: JWT_KEY would only earn a remark about a file that does not exist.
  const { settings: defaults, problems } = loadSettings({ file: "demo", text: "log_level: info\n" }, {});
  if (!defaults) throw new Error("the demo's own settings do not load");
  // 0 = a free one. A file may not say so, because nobody would find its proxy.
  const settings = {
    ...defaults,
    proxy_address_http: { hostname: "127.0.0.1", port: isFree(portWanted) ? portWanted : 0 },
  };
  try {
    return await serve({ settings, rules: { kind: "text", name: "demo", text }, problems, env }, ({ listeners }) =>
      console.log(greeting(listeners[0]!.url.replace(/\/$/, ""), upstreams)),
    );
  } finally {
    for (const upstream of upstreams) upstream.stop(true);
  }
}

type Upstream = ReturnType<typeof serveUpstream>;

/** The proxy's address is the first line, alone: scripts read it there. */
function greeting(url: string, upstreams: Upstream[]): string {
  return `${url}
is a demo proxy: there is no main.yaml here. Its two upstreams are built in:
${upstreams.map(({ name, port }) => `  ${name} on 127.0.0.1:${port}`).join("\n")}

Try:   curl -i ${url}/hello
       curl -N ${url}/events        a clock, as server-sent events
       ${url.replace("http:", "ws:")}/ws      a WebSocket that echoes
Next:  aralez init DIR              writes a configuration to start from
       aralez proxy --from :8080 --to 127.0.0.1:3000
`;
}

/** A small server that shows what reached it. */
function serveUpstream(name: string) {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    // BUN(1.4.4): without it a second copy could share the port; remove when that is the default (bun-facts 1).
    reusePort: false,
    development: false,
    // The event stream may be silent for longer than Bun's default of 10 s while its client is not reading.
    idleTimeout: 0,
    fetch(request, server) {
      const { pathname, search } = new URL(request.url);
      if (pathname === "/ws")
        return server.upgrade(request, { data: undefined })
          ? undefined
          : new Response("426 Upgrade Required: this is a WebSocket\n", {
              status: 426,
              headers: { upgrade: "websocket" },
            });
      if (pathname === "/events")
        return new Response(clock(name), {
          headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
        });
      const fields = [...request.headers].map(([field, value]) => `  ${field}: ${value}\n`).join("");
      return new Response(
        `Hello from ${name}! You asked for ${request.method} ${pathname}${search}, and I received:\n${fields}`,
      );
    },
    websocket: {
      open: (socket) => void socket.send(`Hello from ${name}! I echo.`),
      message: (socket, message) => void socket.send(message),
    },
  });
  return { name, port: server.port, stop: (at: boolean) => void server.stop(at) };
}

/** The time, every second, until the client is gone. */
function clock(name: string): ReadableStream<string> {
  let timer: NodeJS.Timeout | undefined;
  return new ReadableStream<string>({
    start(controller) {
      const tick = () => {
        // A client that does not read would otherwise collect the time in our memory.
        if ((controller.desiredSize ?? 0) > -16) controller.enqueue(`data: ${name} ${new Date().toISOString()}\n\n`);
      };
      tick();
      timer = setInterval(tick, 1000);
    },
    cancel: () => clearInterval(timer),
  });
}

/** Whether nobody listens there: a listener without SO_REUSEPORT cannot join others, so it tells. */
function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, exclusive: true, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
