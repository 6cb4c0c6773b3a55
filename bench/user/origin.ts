/** The servers behind: three nginx with a fixed JSON, each a process of its own. */
import { join } from "node:path";
import type { Plan } from "../contenders/contender.ts";
import { nginxCommand, nginxFolders, nginxPreamble } from "../contenders/nginx.ts";
import { smallBody } from "../site.ts";
import { seenFields, serverField } from "./site.ts";

/** @param name what it says of itself in every answer */
export function planUserOrigin(folder: string, port: number, name: string): Plan {
  const seen = Object.fromEntries(seenFields.map((field) => [field, `$http_${variable(field)}`]));
  const config = `${nginxPreamble(folder)}
http {
${nginxFolders(folder)}  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  add_header ${serverField} ${name};
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /seen { return 200 '${JSON.stringify(seen)}'; }
    location = /connections { stub_status; }
    location / { return 200 '${smallBody}'; }
  }
}
`;
  return { command: nginxCommand(folder, join(folder, "origin.conf")), files: { "origin.conf": config } };
}

function variable(field: string): string {
  return field.toLowerCase().replaceAll("-", "_");
}
