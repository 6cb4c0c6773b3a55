/** An Exchange made of plain values, and a small Bun.serve that answers with what a handler returns for it. */
import type { Body } from "../../src/data/body.ts";
import { Exchange, type FieldVisitor, type HttpVersion, type OwnReply, type Reply } from "../../src/data/exchange.ts";

export interface PlainRequest {
  readonly method?: string;
  readonly target: string;
  /** names in lower case */
  readonly fields?: Readonly<Record<string, string>>;
  readonly authority?: string;
  readonly secure?: boolean;
  readonly peer?: string;
  readonly body?: Body;
}

export class PlainExchange extends Exchange {
  readonly method: string;
  readonly target: string;
  readonly version: HttpVersion = "HTTP/1.1";
  readonly secure: boolean;
  readonly peer: string;
  readonly localPort = 80;
  readonly authority: string | undefined;
  readonly body: Body | undefined;

  constructor(readonly request: PlainRequest) {
    super();
    this.method = request.method ?? "GET";
    this.target = request.target;
    this.secure = request.secure ?? false;
    this.peer = request.peer ?? "127.0.0.1";
    this.authority = request.authority ?? "a.test";
    this.body = request.body;
  }

  field(name: string): string | undefined {
    return this.request.fields?.[name];
  }

  eachField(visit: FieldVisitor): void {
    for (const [name, value] of Object.entries(this.request.fields ?? {})) visit(name, value);
  }

  onClientGone(): void {}

  /** what {@link reply} was given */
  replied: Reply | undefined;

  reply(reply: Reply | undefined): void {
    this.replied = reply;
  }

  fault(error: unknown): void {
    throw error;
  }

  acceptWebSocket(): boolean {
    return false;
  }
}

/** One field of a reply, by its name in any case. */
export function fieldOf(reply: OwnReply, name: string): string | undefined {
  return reply.fields.find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1];
}

/** A reply's content as text; "" for none. */
export async function contentOf(reply: OwnReply): Promise<string> {
  return reply.content === undefined ? "" : new Response(reply.content).text();
}

/** Serves own replies over HTTP on a free port of 127.0.0.1. */
export function serveReplies(handle: (exchange: PlainExchange) => Promise<OwnReply>): Bun.Server<undefined> {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    reusePort: false,
    async fetch(request) {
      const target = request.url.slice(request.url.indexOf("/", "http://".length));
      const reply = await handle(
        new PlainExchange({ method: request.method, target, fields: Object.fromEntries(request.headers) }),
      );
      const bodiless = request.method === "HEAD" || reply.status === 304;
      return new Response(bodiless ? null : (reply.content ?? null), {
        status: reply.status,
        headers: reply.fields.map(([n, v]): [string, string] => [n, v]),
      });
    },
  });
}
