/** Whether a contender does its work: asked before anything is measured. */
import { files, host, prefix, requestLines, responseLines, smallBody, socketsHost } from "./site.ts";

/**
 * The right bodies, the lines of both ways, and what every proxy here tells the origin about the client.
 * @param url of the contender
 * @param echo ask the WebSocket host too; its server must run
 * @throws Error naming the first difference
 */
export async function checkWork(url: string, contender: string, echo: boolean): Promise<void> {
  const check = new Check(url, contender);
  const small = await check.ask(`${prefix}/small`, host);
  const text = await small.text();
  check.same(`the answer (status ${small.status})`, text, smallBody);
  for (const [name, value] of responseLines) check.same(`the answer's ${name}`, small.headers.get(name), value);
  await check.seen(`${prefix}/seen`, host);
  if (echo) await check.seen("/seen", socketsHost);
  for (const [name, bytes] of Object.entries(files)) {
    const { byteLength } = await (await check.ask(`${prefix}/${name}`, host)).arrayBuffer();
    check.same(`the length of ${name}`, byteLength, bytes);
  }
  const took = await check.ask(`${prefix}/took`, host, new Uint8Array(1024 * 1024));
  check.same(`the answer to 1 MiB (status ${took.status})`, await took.text(), smallBody);
}

class Check {
  constructor(
    readonly url: string,
    readonly contender: string,
  ) {}

  ask(target: string, host: string, body?: Uint8Array<ArrayBuffer>): Promise<Response> {
    return fetch(`${this.url}${target}`, {
      ...(body && { method: "POST", body }),
      headers: { Host: host },
      proxy: false,
      keepalive: false,
    } as BunFetchRequestInit);
  }

  same(what: string, found: unknown, wanted: unknown): void {
    if (found !== wanted)
      throw new Error(
        `${this.contender} does not do the work it is measured at: ${what} is "${found}", expected "${wanted}"`,
      );
  }

  /** What the server behind it was told. */
  async seen(target: string, host: string): Promise<void> {
    const response = await this.ask(target, host);
    const text = await response.text();
    let seen: Record<string, string> = {};
    try {
      seen = JSON.parse(text) as Record<string, string>;
    } catch {
      this.same(`the answer at ${host}${target} (status ${response.status})`, text, "JSON");
    }
    const expected: Record<string, string> = {
      ...Object.fromEntries(requestLines),
      Host: host,
      "X-Forwarded-For": "127.0.0.1",
      "X-Forwarded-Proto": "http",
      "X-Forwarded-Host": host,
      "X-Forwarded-Port": new URL(this.url).port,
      "X-Real-IP": "127.0.0.1",
    };
    for (const [name, value] of Object.entries(expected)) this.same(`${name} at ${host}`, seen[name], value);
    if (!seen["X-Request-Id"]) this.same(`X-Request-Id at ${host}`, seen["X-Request-Id"], "an id");
  }
}
