/** ImaginedExchange: a request that nobody has sent, to see what would become of it. */
import type { Body } from "../body.ts";
import { Exchange, type FieldVisitor } from "../exchange.ts";
import type { Secured } from "../tls/secured.ts";
import type { Question } from "./question.ts";

export class ImaginedExchange extends Exchange {
  readonly method: string;
  readonly target: string;
  readonly version = "HTTP/1.1";
  readonly secure: boolean;
  readonly peer: string;
  readonly localPort: number;
  readonly authority: string | undefined;
  readonly body: Body | undefined;
  override readonly acceptWebSocket = undefined;
  readonly #fields: Question["fields"];

  #secured: Secured | undefined;

  constructor(question: Question) {
    super();
    this.method = question.method;
    this.target = question.target;
    this.secure = question.secure;
    this.peer = question.peer;
    this.localPort = question.secure ? 443 : 80;
    this.authority = question.authority;
    this.#fields = question.fields;
    const length = Number(this.field("content-length") ?? 0);
    if (length > 0) this.body = { length, start() {}, resume() {}, cancel() {} };
  }

  override get secured(): Secured | undefined {
    return this.#secured;
  }

  /** As if its handshake had asked for the certificates of its host, and been shown none. */
  shake(policy: string): void {
    this.#secured = { serverName: this.host, policy, client: undefined, problem: "" };
  }

  field(name: string): string | undefined {
    const values = this.#fields.flatMap(([other, value]) => (other.toLowerCase() === name ? [value] : []));
    return values.length === 0 ? undefined : values.join(name === "cookie" ? "; " : ", ");
  }

  eachField(visit: FieldVisitor): void {
    for (const [name, value] of this.#fields) visit(name, value);
  }

  onClientGone(): void {}

  reply(): void {}

  fault(error: unknown): void {
    throw error;
  }
}
