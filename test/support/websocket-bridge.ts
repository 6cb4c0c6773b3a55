/** The least listener in front of the WebSocket bridge, and node's `ws` on both ends of it, as processes. */
import { join } from "node:path";
import type { FieldLine } from "../../src/data/body.ts";
import type { WebSocketAccept } from "../../src/data/exchange.ts";
import { Failure } from "../../src/data/failure.ts";
import { openUpstreamWebSocket, type UpstreamWebSocketOptions } from "../../src/data/forward/websocket.ts";
import type { BridgeEnd } from "../../src/data/forward/websocket-bridge.ts";
import * as limits from "../../src/lib/limits.ts";

type Event = Record<string, any>;

/** A node process that prints JSON lines. */
export class NodeProcess implements AsyncDisposable {
  readonly events: Event[] = [];
  private readonly child;
  private wake: () => void = () => {};
  private finished = false;

  constructor(file: string, args: string[]) {
    this.child = Bun.spawn(["node", join(import.meta.dir, file), ...args], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    void this.read();
  }

  get pid(): number {
    return this.child.pid;
  }

  /** Waits for an event that fits, past or to come. */
  async event(fits: (event: Event) => boolean, waitMs = 25_000): Promise<Event> {
    const deadline = performance.now() + waitMs;
    for (;;) {
      const found = this.events.find(fits);
      if (found !== undefined) return found;
      if (this.finished || performance.now() > deadline)
        throw new Error(`No such event in ${JSON.stringify(this.events).slice(0, 2000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 500);
        this.wake = () => (clearTimeout(timer), resolve());
      });
    }
  }

  line(): void {
    this.child.stdin.write("\n");
    this.child.stdin.flush();
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
  }

  private async read(): Promise<void> {
    let rest = "";
    for await (const chunk of this.child.stdout.pipeThrough(new TextDecoderStream() as any) as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.events.push(JSON.parse(line));
      this.wake();
    }
    this.finished = true;
    this.wake();
  }
}

/** @param where "0" or the path of a unix socket */
export async function startOrigin(where = "0", ...tls: string[]): Promise<{ origin: NodeProcess; port: number }> {
  const origin = new NodeProcess("ws-origin.mjs", [where, ...tls]);
  const { port } = await origin.event((e) => e.event === "listening");
  return { origin, port };
}

/** Runs node's `ws` against `url` and waits until it is done. */
export async function runClient(url: string, script: object = {}): Promise<Event> {
  await using client = new NodeProcess("ws-client.mjs", [url, JSON.stringify(script)]);
  return await client.event((e) => e.event === "done");
}

export interface Bridge extends Disposable {
  readonly url: string;
  readonly port: number;
  readonly ends: BridgeEnd[];
  readonly failures: Failure[];
  /** @param count bridges that have ended so far */
  ended(count: number, waitMs?: number): Promise<BridgeEnd[]>;
}

export function startBridge(
  options: Partial<UpstreamWebSocketOptions> & Pick<UpstreamWebSocketOptions, "connect">,
): Bridge {
  const ends: BridgeEnd[] = [];
  const failures: Failure[] = [];
  const server = Bun.serve<WebSocketAccept>({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request, server) {
      const url = new URL(request.url);
      try {
        const result = await openUpstreamWebSocket({
          target: url.pathname + url.search,
          host: "origin.test",
          fields: [...request.headers].filter(
            ([name]) => name !== "host" && name !== "connection" && name !== "upgrade",
          ),
          connectMs: 5_000,
          firstByteMs: 5_000,
          streamMs: 60_000,
          signal: request.signal,
          ...options,
        });
        if (result.kind === "refused") return await responseOf(result.answer);
        const fields: FieldLine[] = [];
        result.answer.eachField((name, value) => fields.push([name, value]));
        const accept = result.socket.toAccept(fields, (about) => ends.push(about));
        const headers = new Headers(accept.fields.map(([name, value]): [string, string] => [name, value]));
        // BUN(1.4.4): without this field Bun takes the client's first subprotocol by itself; an empty one means none; remove when it takes none.
        headers.set("Sec-WebSocket-Protocol", accept.protocol ?? "");
        if (!server.upgrade(request, { data: accept, headers }))
          result.socket.close(1001, "client could not be upgraded");
        return undefined as unknown as Response;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failures.push(error);
        return new Response(error.code, { status: error.status });
      }
    },
    websocket: {
      maxPayloadLength: limits.webSocketMessageBytesMax,
      backpressureLimit: limits.webSocketQueueBytesMax,
      closeOnBackpressureLimit: true,
      idleTimeout: 0,
      sendPings: false,
      perMessageDeflate: false,
      open: (ws) =>
        ws.data.opened({
          // Not by the result of send: it is 0 for an empty message as well as for a dropped one.
          send: (data) => (ws.send(data), ws.getBufferedAmount() === 0),
          ping: (data) => void ws.ping(data),
          close: (code, reason) => ws.close(code, reason),
          terminate: () => ws.terminate(),
        }),
      message: (ws, data) => ws.data.message(data),
      ping: (ws, data) => ws.data.ping(data),
      // It is also called while bytes still wait.
      drain: (ws) => (ws.getBufferedAmount() === 0 ? ws.data.drained() : undefined),
      close: (ws, code, reason) => ws.data.closed(code, reason),
    },
  });
  return {
    url: `ws://127.0.0.1:${server.port}`,
    port: server.port!,
    ends,
    failures,
    async ended(count, waitMs = 25_000) {
      const deadline = performance.now() + waitMs;
      while (ends.length < count) {
        if (performance.now() > deadline) throw new Error(`Only ${ends.length} of ${count} bridges ended`);
        await Bun.sleep(10);
      }
      return ends;
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}

async function responseOf(answer: import("../../src/data/exchange.ts").Answer): Promise<Response> {
  const headers = new Headers();
  answer.eachField((name, value) => {
    if (!["connection", "transfer-encoding", "content-length"].includes(name.toLowerCase()))
      headers.append(name, value);
  });
  const { body } = answer;
  if (body === undefined) return new Response(null, { status: answer.status, headers });
  const stream = new ReadableStream({
    start: (controller) =>
      body.start({
        write: (chunk) => (controller.enqueue(chunk.slice()), true),
        end: () => controller.close(),
        fail: (failure) => controller.error(failure),
      }),
  });
  return new Response(stream, { status: answer.status, headers });
}
