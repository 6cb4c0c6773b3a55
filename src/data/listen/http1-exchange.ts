/** The exchange that an HTTP/1.1 connection of ours opens for each request: it keeps the bytes of its head. */
import { passableUpgrade } from "../../lib/fields.ts";
import type { FieldLine } from "../body.ts";
import { Exchange, type Answer, type FieldVisitor } from "../exchange.ts";
import { copyFields, type HeaderEdits } from "../headers/edits.ts";
import type { Secured } from "../tls/secured.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Http1Connection } from "./http1.ts";
import { RequestBody } from "./request-body.ts";

export class Http1Exchange extends Exchange {
  readonly method: string;
  readonly target: string;
  readonly version: "HTTP/1.0" | "HTTP/1.1";
  readonly authority: string | undefined;
  readonly body: RequestBody | undefined;
  readonly keepAlive: boolean;
  override readonly acceptWebSocket = undefined;
  #onGone: (() => void)[] | undefined;
  #isGone = false;

  constructor(
    readonly connection: Http1Connection,
    readonly head: RequestHead,
  ) {
    super();
    this.method = head.method();
    this.target = head.target();
    this.version = head.minor === 0 ? "HTTP/1.0" : "HTTP/1.1";
    // RFC 9112 3.2.2: the authority of an absolute-form target wins over Host.
    this.authority =
      head.authorityStart >= 0
        ? head.bytes.toString("latin1", head.authorityStart, head.authorityEnd)
        : head.field("host");
    this.keepAlive = head.keepAlive;
    if (head.chunked || head.contentLength > 0) this.body = new RequestBody(connection, head);
  }

  get secure(): boolean {
    return this.connection.secured !== undefined;
  }

  override get secured(): Secured | undefined {
    return this.connection.secured;
  }

  get peer(): string {
    return this.connection.peer;
  }

  get localPort(): number {
    return this.connection.site.port;
  }

  override get bytesIn(): number {
    return this.body?.received ?? 0;
  }

  override get upgrade(): string | undefined {
    // A request with a body could only switch after it; nobody does that.
    return this.head.upgrade && this.head.minor === 1 && !this.body
      ? passableUpgrade(this.head.field("upgrade"))
      : undefined;
  }

  field(name: string): string | undefined {
    return this.head.field(name);
  }

  eachField(visit: FieldVisitor): void {
    this.head.each(visit);
  }

  onClientGone(act: () => void): void {
    if (this.#isGone) act();
    else (this.#onGone ??= []).push(act);
  }

  override interim(answer: Answer): void {
    // We answer Expect ourselves, and HTTP/1.0 knows no interim answers (RFC 9110 15.2).
    if (answer.status === 100 || this.head.minor === 0 || this.#isGone) return;
    const { out } = this.connection;
    out.text(`HTTP/1.1 ${answer.status} ${answer.reason}\r\n`);
    copyFields(
      answer,
      this.route!.responseEdits,
      () => true,
      (name, value) => out.text(`${name}: ${value}\r\n`),
    );
    out.text("\r\n");
    out.flush();
  }

  override acceptTunnel(answer: Answer, edits: HeaderEdits, fields: readonly FieldLine[]): void {
    this.connection.tunnel(this, answer, edits, fields);
  }

  gone(): void {
    this.#isGone = true;
    for (const act of this.#onGone ?? []) act();
    this.body?.cut();
  }
}
