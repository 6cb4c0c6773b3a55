/** What real nginx and real node:http make of messages, each on a connection of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../cli/program.ts";
import { startNginx } from "../../../support/nginx.ts";
import { Program } from "../../../support/programs.ts";
import { referenceResponses } from "../../../fuzz/reference.ts";

/** For each message what was read of it: `METHOD TARGET LENGTH` per request (origin-form), or `STATUS LENGTH` of a final response. */
export type Readings = string[][];

const atOnce = 32;

/** @param kind what the messages are */
export async function askNode(kind: "requests" | "responses", messages: readonly string[]): Promise<Readings> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-differential-"));
  try {
    const file = join(folder, "messages.json");
    writeFileSync(file, JSON.stringify(messages));
    await using node = new Program("node", [join(import.meta.dir, "node-reader.mjs"), kind, file]);
    const code = await node.end();
    if (code !== 0) throw new Error(`node ended with ${code}: ${node.output}`);
    const readings = JSON.parse(node.output) as Readings;
    return readings.map((lines) => lines.map(inOriginForm));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** node leaves absolute-form targets as they are. */
function inOriginForm(line: string): string {
  return line.replace(/^(\S+) https?:\/\/[^/?]*(\S*) /i, (_, method: string, rest: string) => {
    if (rest === "") return `${method} ${method === "OPTIONS" ? "*" : "/"} `;
    return `${method} ${rest.startsWith("?") ? "/" : ""}${rest} `;
  });
}

/** nginx reads each request with its body (it buffers it for another nginx) and tells how it read it. */
export async function askNginxRequests(messages: readonly string[]): Promise<Readings> {
  const behind = freePort();
  await using nginx = await startNginx({
    server: `
      client_max_body_size 0; merge_slashes off; keepalive_requests 100000; lingering_close off;
      location / {
        set $fixed /;
        proxy_pass http://127.0.0.1:${behind}$fixed;
        proxy_method POST; proxy_pass_request_headers off; proxy_ignore_client_abort on;
        proxy_http_version 1.1; proxy_set_header Connection "";
        add_header X-Read "$request_method $request_uri $upstream_http_x_length";
      }`,
    more: `server { listen 127.0.0.1:${behind} backlog=4096; location / { add_header X-Length "$http_content_length"; return 200; } }`,
  });
  return await each(messages, async (message) => {
    const answers = await exchange(nginx.port, message);
    const read: string[] = [];
    for (let at = 0; at < answers.length;) {
      const end = answers.indexOf("\r\n\r\n", at);
      if (end < 0) break;
      const head = answers.slice(at, end);
      at = end + 4;
      if (/^HTTP\/1\.1 1/.test(head)) continue;
      const told = /^X-Read: (.*?) ([0-9]*)$/m.exec(head.replaceAll("\r", ""));
      if (!told) break;
      // It keeps a query without path as it is.
      read.push(`${told[1]!.replace(/^(\S+) \?/, "$1 /?")} ${told[2] || "0"}`);
      // What it passes on is empty; chunked when it does not say so.
      if (answers.startsWith("0\r\n\r\n", at)) at += 5;
    }
    return read;
  });
}

/** nginx passes each response on; what it cannot read becomes a 502 or a cut answer. */
export async function askNginxResponses(messages: readonly string[]): Promise<Readings> {
  const origin = Bun.listen<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      data(socket, data) {
        const index = /^GET \/([0-9]+)/.exec(data.toString("latin1"))?.[1];
        if (index !== undefined) socket.write(Buffer.from(messages[Number(index)]!, "latin1"));
        socket.shutdown();
      },
      end: (socket) => void socket.end(),
    },
  });
  try {
    await using nginx = await startNginx({
      server: `
        location / {
          proxy_pass http://127.0.0.1:${origin.port};
          proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off; proxy_max_temp_file_size 0;
          add_header X-Header-Time "$upstream_header_time" always;
        }`,
    });
    return await each(messages, async (_message, index) => {
      const answer = await exchange(
        nginx.port,
        `GET /${index} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
        false,
      );
      if (!/^X-Header-Time: [0-9.]+\r$/m.test(answer)) return [];
      const { messages: read } = referenceResponses(answer, "GET");
      return read.map(({ start, body }) => `${start.slice(0, 3)} ${body.length}`).slice(0, 1);
    });
  } finally {
    origin.stop(true);
  }
}

/** Sends bytes and a FIN, and reads to the end. */
function exchange(port: number, message: string, finish = true): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    void Bun.connect<undefined>({
      hostname: "127.0.0.1",
      port,
      allowHalfOpen: true,
      socket: {
        open(socket) {
          socket.write(Buffer.from(message, "latin1"));
          if (finish) socket.shutdown();
        },
        data: (_socket, data) => void (answer += data.toString("latin1")),
        end: (socket) => void socket.end(),
        close: () => resolve(answer),
        connectError: (_socket, error) => reject(error),
      },
    }).catch(reject);
  });
}

async function each(
  messages: readonly string[],
  one: (message: string, index: number) => Promise<string[]>,
): Promise<Readings> {
  const results: Readings = [];
  let next = 0;
  const work = async () => {
    for (let i; (i = next++) < messages.length;) results[i] = await one(messages[i]!, i);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}
