/** One request to a contender and its whole answer, in HTTP/1.1 or HTTP/2: for questions before anything is measured. */
import http2 from "node:http2";

const waitMs = 10_000;

export interface Door {
  /** on 127.0.0.1 */
  readonly port: number;
  readonly tls: boolean;
  /** over TLS only */
  readonly http2: boolean;
}

export interface Question {
  readonly host: string;
  readonly target: string;
  /** sent with POST */
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly status: number;
  /** name in lower case → value; trailers too */
  readonly fields: ReadonlyMap<string, string>;
  readonly bytes: Buffer;
}

/** @throws Error when there is no whole answer in time */
export function ask(door: Door, question: Question): Promise<Answered> {
  return door.http2 ? askHttp2(door, question) : askHttp1(door, question);
}

async function askHttp1({ port, tls }: Door, { host, target, body, headers }: Question): Promise<Answered> {
  const response = await fetch(`${tls ? "https" : "http"}://127.0.0.1:${port}${target}`, {
    ...(body && { method: "POST", body }),
    headers: { ...headers, Host: host },
    proxy: false,
    keepalive: false,
    redirect: "manual",
    // The certificate is its own authority.
    ...(tls && { tls: { rejectUnauthorized: false, serverName: host } }),
    signal: AbortSignal.timeout(waitMs),
  } as BunFetchRequestInit);
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, fields: new Map(response.headers), bytes };
}

function askHttp2({ port }: Door, { host, target, body, headers }: Question): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`https://127.0.0.1:${port}`, { servername: host, rejectUnauthorized: false });
    const timer = setTimeout(() => fail(new Error(`no answer within ${waitMs / 1000} s`)), waitMs);
    const fail = (error: Error) => {
      clearTimeout(timer);
      session.destroy();
      reject(error);
    };
    session.on("error", fail);
    const request = session.request({
      ":method": body ? "POST" : "GET",
      ":path": target,
      ":authority": host,
      ...headers,
    });
    const fields = new Map<string, string>();
    const take = (lines: object) =>
      Object.entries(lines).forEach(([name, value]) => typeof name === "string" && fields.set(name, String(value)));
    const chunks: Buffer[] = [];
    request.on("error", fail);
    request.on("response", take);
    request.on("trailers", take);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      clearTimeout(timer);
      session.close();
      resolve({ status: Number(fields.get(":status")), fields, bytes: Buffer.concat(chunks) });
    });
    request.end(body);
  });
}
