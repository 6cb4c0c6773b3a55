/** `/health`, `/ready` and `/metrics`: what machines ask every few seconds. */
import { textReply, reply, type Endpoint } from "./endpoint.ts";

export interface HealthOptions {
  /** why it is not ready; undefined = it is */
  unready(): string | undefined;
  /** in Prometheus' text format (0.0.4) */
  renderMetrics(): Promise<string>;
}

export function healthEndpoints({ unready, renderMetrics }: HealthOptions): Endpoint[] {
  return [
    // Whoever can answer at all is alive: a failing upstream is no reason to restart a proxy.
    { methods: ["GET"], path: "/health", access: "open", answer: () => textReply(200, "ok\n") },
    {
      methods: ["GET"],
      path: "/ready",
      access: "open",
      answer() {
        const why = unready();
        return why === undefined ? textReply(200, "ready\n") : textReply(503, `not ready: ${why}\n`);
      },
    },
    {
      methods: ["GET"],
      path: "/metrics",
      access: "read",
      async answer() {
        return reply(200, "text/plain; version=0.0.4; charset=utf-8", await renderMetrics(), "");
      },
    },
  ];
}

/** The gauges of the original that need no counting on the data path. @param open exchanges under way */
export function basicMetrics(open: () => number): () => Promise<string> {
  return async () =>
    [
      "# HELP aralez_active_sessions Requests, WebSockets and tunnels under way.",
      "# TYPE aralez_active_sessions gauge",
      `aralez_active_sessions ${open()}`,
      "# HELP aralez_memory_bytes Resident memory of the process.",
      "# TYPE aralez_memory_bytes gauge",
      `aralez_memory_bytes ${process.memoryUsage.rss()}`,
      "",
    ].join("\n");
}
