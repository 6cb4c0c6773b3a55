/** The exchange that an HTTP/1.1 connection of ours opens for each request: it keeps the bytes of its head. */
import { passableUpgrade } from "../../lib/fields.ts";
import type { FieldLine } from "../body.ts";
import { Exchange, type Answer, type FieldVisitor, type Reply, type Underway } from "../exchange.ts";
import { refuse } from "../guards/guard.ts";
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
  /** the client has left */
  isGone = false;

  constructor(
    readonly connection: Http1Connection,
    /** an empty one when this is over */
    public head: RequestHead,
  ) {
    super();
    this.method = head.method();
    this.target = head.target();
    this.version = head.minor === 0 ? "HTTP/1.0" : "HTTP/1.1";
    // RFC 9112 3.2.2: the authority of an absolute-form target wins over Host.
    this.authority =
      head.authorityStart >= 0
        ? connection.hostText(head.authorityStart, head.authorityEnd)
        : head.hostLine >= 0
          ? connection.hostText(head.lines[head.hostLine * 4 + 2]!, head.lines[head.hostLine * 4 + 3]!)
          : undefined;
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
    if (this.isGone) act();
    else (this.#onGone ??= []).push(act);
  }

  override attend(underway: Underway | undefined): void {
    this.underway = underway;
    if (underway && this.isGone) underway.clientGone();
  }

  reply(reply: Reply | undefined): void {
    this.connection.reply(this, reply);
  }

  fault(error: unknown): void {
    this.connection.site.options.failed(error);
    this.connection.reply(this, refuse(500, "the proxy failed on this request"));
  }

  override interim(answer: Answer): void {
    // HTTP/1.0 knows no interim answers (RFC 9110 15.2).
    if (this.head.minor === 0 || this.isGone) return;
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
    this.isGone = true;
    this.underway?.clientGone();
    for (const act of this.#onGone ?? []) act();
    this.body?.cut();
  }
}
