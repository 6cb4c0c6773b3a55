/** `/health`, `/ready` and `/metrics`: what machines ask every few seconds. */
import { metricsContentType } from "../metrics/page.ts";
import { textReply, reply, type Endpoint } from "./endpoint.ts";

export interface HealthOptions {
  /** why it is not ready; undefined = it is */
  unready(): string | undefined;
  /** in Prometheus' text format */
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
        return reply(200, metricsContentType, await renderMetrics(), "");
      },
    },
  ];
}
