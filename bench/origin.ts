/** The origin: one nginx worker with a fixed small JSON, files of 1 KiB to 1 MiB, and a count of its connections. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Plan } from "./contenders/contender.ts";
import { nginxCommand, nginxFolders, nginxPreamble } from "./contenders/nginx.ts";
import { files, seenFields, smallBody } from "./site.ts";

export function planOrigin(folder: string, port: number): Plan {
  const seen = Object.fromEntries(seenFields.map((name) => [name, `$http_${name.toLowerCase().replaceAll("-", "_")}`]));
  const config = `${nginxPreamble(folder)}
http {
${nginxFolders(folder)}  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  upstream self {
    server unix:${join(folder, "self.sock")};
    keepalive 512;
    keepalive_requests 1000000000;
  }
  server {
    listen unix:${join(folder, "self.sock")};
    default_type application/json;
    location / { return 200 '${smallBody}'; }
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ /small$ { default_type application/json; return 200 '${smallBody}'; }
    # nginx's \`return\` answers before it has read the request's body, as few servers do: a detour makes it wait.
    location ~ /took$ {
      client_body_buffer_size 2m;
      proxy_pass http://self;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_pass_request_body off;
      proxy_method GET;
    }
    location ~ /seen$ { default_type application/json; return 200 '${JSON.stringify(seen)}'; }
    location ~ /(${Object.keys(files).join("|")})$ { alias ${folder}/$1.bin; }
    location = /connections { stub_status; }
    location / { return 200 'ok'; }
  }
}
`;
  return { command: nginxCommand(folder, join(folder, "origin.conf")), files: { "origin.conf": config } };
}

/** Incompressible and without a pattern, so that no layer can cheat. */
export function writeOriginFiles(folder: string): void {
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, `${name}.bin`), randomBytes(bytes));
}

/**
 * Connections that the origin has accepted so far; asking opens one more, which is not counted. The health checks of a
 * contender are, for one that makes them.
 */
export class ConnectionCount {
  #own = 0;

  constructor(readonly port: number) {}

  async read(): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.port}/connections`, {
      headers: { Connection: "close" },
      proxy: false,
      keepalive: false,
    } as BunFetchRequestInit);
    return parseStubStatus(await response.text()) - ++this.#own;
  }
}

/** ngx_http_stub_status_module: the first of the three numbers is `accepts`. */
export function parseStubStatus(text: string): number {
  const accepts = /requests\s+(\d+) \d+ \d+/.exec(text)?.[1];
  if (accepts === undefined)
    throw new Error(`Cannot read the origin's connections: expected stub_status, found "${text}"`);
  return Number(accepts);
}
