/** A keep-alive HTTP client that shows an answer's fields as they came. */
import { Agent, request, type IncomingMessage } from "node:http";

export interface Ask {
  readonly method?: string;
  readonly target: string;
  readonly fields?: Readonly<Record<string, string>>;
  /** sent with Content-Length unless `fields` ask for chunks */
  readonly body?: Uint8Array;
}

export interface Asked {
  readonly status: number;
  readonly reason: string;
  /** by lower-case name; lines of one name joined with ", " */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export interface Client extends Disposable {
  ask(ask: Ask): Promise<Asked>;
}

/** @param port of 127.0.0.1  @param host the Host field  @param connections at most so many at once */
export function startClient(port: number, host: string, connections: number): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    ask: ({ method = "GET", target, fields, body }) =>
      new Promise((resolve, reject) => {
        const sent = request({
          agent,
          host: "127.0.0.1",
          port,
          method,
          path: target,
          headers: { Host: host, ...fields },
        });
        sent.on("response", (answer) => read(answer).then(resolve, reject));
        sent.on("error", (error) => reject(new Error(`Cannot ask ${method} ${target}: ${error.message}`)));
        sent.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

async function read(answer: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  if (!answer.complete)
    throw new Error(`the answer ${answer.statusCode} was cut after ${Buffer.concat(chunks).length} bytes`);
  const fields = new Map<string, string>();
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    const name = answer.rawHeaders[i]!.toLowerCase();
    const before = fields.get(name);
    fields.set(name, before === undefined ? answer.rawHeaders[i + 1]! : `${before}, ${answer.rawHeaders[i + 1]}`);
  }
  return { status: answer.statusCode!, reason: answer.statusMessage ?? "", fields, body: Buffer.concat(chunks) };
}
