/** The request that asks a forward service for permission: what the client asked, told in fields of its own. */
import type { FieldLine } from "../../body.ts";
import { Exchange, type FieldVisitor } from "../../exchange.ts";

/** What the fields that we write ourselves are made from: a trusted proxy's word counts here as it does upstream. */
const passed: ReadonlySet<string> = new Set([
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-forwarded-port",
  "cdn-loop",
]);

export class PermissionExchange extends Exchange {
  readonly method: string;
  readonly version = "HTTP/1.1";
  readonly secure: boolean;
  readonly peer: string;
  readonly localPort: number;
  readonly authority: string | undefined;
  readonly body = undefined;
  override readonly acceptWebSocket = undefined;
  readonly #fields: readonly FieldLine[];
  readonly #onGone: (() => void)[] = [];
  #gone = false;

  /** @param target of the service */
  constructor(
    readonly original: Exchange,
    readonly target: string,
  ) {
    super();
    this.method = original.method === "HEAD" ? "HEAD" : "GET";
    this.secure = original.secure;
    this.peer = original.peer;
    this.localPort = original.localPort;
    this.authority = original.authority;
    this.id = original.id;
    this.client = original.client;
    this.trusted = original.trusted;
    this.host = original.host;
    this.hostPort = original.hostPort;
    const fields: FieldLine[] = [];
    for (const [lower, name] of [
      ["authorization", "Authorization"],
      ["cookie", "Cookie"],
    ] as const) {
      const value = original.field(lower);
      if (value !== undefined) fields.push([name, value]);
    }
    fields.push(["X-Forwarded-Method", original.method], ["X-Forwarded-Uri", original.target]);
    this.#fields = fields;
  }

  field(name: string): string | undefined {
    if (passed.has(name)) return this.original.field(name);
    return this.#fields.find(([other]) => other.toLowerCase() === name)?.[1];
  }

  eachField(visit: FieldVisitor): void {
    for (const [name, value] of this.#fields) visit(name, value);
  }

  onClientGone(act: () => void): void {
    if (this.#gone) act();
    else this.#onGone.push(act);
  }

  /** The guard takes the answer from its attempt: no client stands behind this exchange. */
  reply(): void {}

  fault(error: unknown): void {
    throw error;
  }

  /** Nobody waits for the answer any more. */
  leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const act of this.#onGone) act();
  }
}
