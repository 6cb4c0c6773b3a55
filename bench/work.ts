/** Whether a contender does its work: asked before anything is measured. */
import { ask, type Answered, type Door, type Question } from "./ask.ts";
import {
  files,
  grpcMessage,
  grpcPath,
  h2cHost,
  host,
  prefix,
  requestLines,
  responseLines,
  smallBody,
  socketsHost,
} from "./site.ts";

/** Which of the special hosts are asked; their servers must run. */
export interface Asked {
  readonly echo?: boolean;
  readonly h2c?: boolean;
  readonly grpc?: boolean;
  /** header lines that clients of this contender send */
  readonly clientLines?: Readonly<Record<string, string>>;
}

/**
 * The right bodies, the lines of both ways, and what every proxy here tells the origin about the client.
 * @throws Error naming the first difference
 */
export async function checkWork(door: Door, contender: string, asked: Asked): Promise<void> {
  const { echo, h2c, grpc, clientLines = {} } = asked;
  const check = new Check(door, contender, clientLines);
  await check.small({ host, target: `${prefix}/small` });
  await check.seen({ host, target: `${prefix}/seen` });
  if (echo) await check.seen({ host: socketsHost, target: "/seen" });
  if (h2c) {
    await check.small({ host: h2cHost, target: `${prefix}/small` });
    await check.seen({ host: h2cHost, target: `${prefix}/seen` });
  }
  if (grpc) await check.call();
  for (const [name, bytes] of Object.entries(files)) {
    const { length } = (await check.ask({ host, target: `${prefix}/${name}` })).bytes;
    check.same(`the length of ${name}`, length, bytes);
  }
  const took = await check.ask({ host, target: `${prefix}/took`, body: new Uint8Array(1024 * 1024) });
  check.same(`the answer to 1 MiB (status ${took.status})`, String(took.bytes), smallBody);
}

class Check {
  constructor(
    readonly door: Door,
    readonly contender: string,
    readonly clientLines: Readonly<Record<string, string>>,
  ) {}

  async ask(question: Question): Promise<Answered> {
    try {
      return await ask(this.door, { ...question, headers: { ...this.clientLines, ...question.headers } });
    } catch (error) {
      const what = `${question.host}${question.target}`;
      throw new Error(`${this.contender} does not answer at ${what}: ${(error as Error).message}`, { cause: error });
    }
  }

  same(what: string, found: unknown, wanted: unknown): void {
    if (found !== wanted)
      throw new Error(
        `${this.contender} does not do the work it is measured at: ${what} is "${found}", expected "${wanted}"`,
      );
  }

  async small(question: Question): Promise<void> {
    const { status, bytes, fields } = await this.ask(question);
    this.same(`the answer at ${question.host} (status ${status})`, String(bytes), smallBody);
    this.#edited(fields);
  }

  /** A unary call of gRPC, with its trailers. */
  async call(): Promise<void> {
    const headers = { "content-type": "application/grpc", te: "trailers" };
    const body = new Uint8Array(grpcMessage);
    const { status, bytes, fields } = await this.ask({ host: h2cHost, target: grpcPath, body, headers });
    this.same(`grpc-status (status ${status})`, fields.get("grpc-status"), "0");
    this.same("the message", String(bytes), String(grpcMessage));
    this.#edited(fields);
  }

  /** What the server behind it was told. */
  async seen(question: Question): Promise<void> {
    const { host, target } = question;
    const { status, bytes } = await this.ask(question);
    let seen: Record<string, string> = {};
    try {
      seen = JSON.parse(String(bytes)) as Record<string, string>;
    } catch {
      this.same(`the answer at ${host}${target} (status ${status})`, String(bytes), "JSON");
    }
    const expected: Record<string, string> = {
      ...Object.fromEntries(requestLines),
      Host: host,
      "X-Forwarded-For": "127.0.0.1",
      "X-Forwarded-Proto": this.door.tls ? "https" : "http",
      "X-Forwarded-Host": host,
      "X-Forwarded-Port": String(this.door.port),
      "X-Real-IP": "127.0.0.1",
    };
    for (const [name, value] of Object.entries(expected)) this.same(`${name} at ${host}`, seen[name], value);
    if (!seen["X-Request-Id"]) this.same(`X-Request-Id at ${host}`, seen["X-Request-Id"], "an id");
  }

  #edited(fields: ReadonlyMap<string, string>): void {
    for (const [name, value] of responseLines)
      this.same(`the answer's ${name}`, fields.get(name.toLowerCase()) ?? null, value);
  }
}
