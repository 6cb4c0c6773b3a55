/** Whether a contender of the user's benchmark does its work, on both ports: asked before anything is measured. */
import { ask, type Answered, type Door } from "../ask.ts";
import { smallBody } from "../site.ts";
import { routeOf, seenFields, serverField, urls, userHost } from "./site.ts";

/** Enough to meet each server of a route although somebody else asks too (health checks take turns as well). */
const turns = 12;

/** It answers, but with something else: waiting does not help. */
export class WrongWork extends Error {}

/** @throws WrongWork naming the first difference, or another Error while there is no answer with status 200 */
export async function checkUserWork(contender: string, plainPort: number, tlsPort: number): Promise<void> {
  const doors: readonly Door[] = [
    { port: plainPort, tls: false, http2: false },
    { port: tlsPort, tls: true, http2: true },
  ];
  for (const door of doors) {
    const check = new Check(contender, door);
    for (const url of urls) await check.url(url);
    await check.seen();
    for (const url of ["/", "/ping"]) await check.servers(url);
  }
}

class Check {
  constructor(
    readonly contender: string,
    readonly door: Door,
  ) {}

  async ask(target: string): Promise<Answered> {
    try {
      const answered = await ask(this.door, { host: userHost, target });
      if (answered.status === 200) return answered;
      throw new Error(`status ${answered.status}`);
    } catch (error) {
      const over = this.door.tls ? "over TLS" : "in clear";
      throw new Error(`${this.contender} does not answer at ${target} ${over}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  same(what: string, found: unknown, wanted: unknown): void {
    if (found !== wanted)
      throw new WrongWork(
        `${this.contender} does not do the work it is measured at: ${what} is "${found}", expected "${wanted}"`,
      );
  }

  async url(url: string): Promise<void> {
    const { bytes, fields } = await this.ask(url);
    this.same(`the answer at ${url}`, String(bytes), smallBody);
    for (const [name, value] of routeOf(url).responseLines)
      this.same(`${name} at ${url}`, fields.get(name.toLowerCase()) ?? null, value);
  }

  /** What the server behind it was told. */
  async seen(): Promise<void> {
    const { bytes } = await this.ask("/seen");
    const [host, client] = seenFields as [string, string];
    let seen: Record<string, string> = {};
    try {
      seen = JSON.parse(String(bytes)) as Record<string, string>;
    } catch {
      this.same("the answer at /seen", String(bytes), "JSON");
    }
    this.same(host, seen[host], userHost);
    this.same(client, seen[client], "127.0.0.1");
  }

  /** All of a route's servers take part, and no other. */
  async servers(url: string): Promise<void> {
    const met = new Set<string>();
    for (let turn = 0; turn < turns; turn++) met.add((await this.ask(url)).fields.get(serverField.toLowerCase()) ?? "");
    this.same(`the servers of ${url}`, [...met].sort().join(), nameList(routeOf(url).servers));
  }
}

/** Of the first so many servers. */
function nameList(count: number): string {
  return Array.from({ length: count }, (_, i) => serverName(i)).join();
}

export function serverName(index: number): string {
  return `server-${index + 1}`;
}
