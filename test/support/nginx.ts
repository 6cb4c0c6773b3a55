/** nginx as an upstream: started with a configuration of its own in a temporary folder, on free ports. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { Program } from "./programs.ts";

export interface Nginx extends AsyncDisposable {
  /** of the plain server */
  readonly port: number;
  readonly address: string;
  /** its files */
  readonly root: string;
  /** connections accepted since it started, that of the question itself not counted */
  accepted(): Promise<number>;
  log(): Promise<string>;
  /** starts a new worker; the old one closes its idle connections and ends */
  reload(): void;
}

export interface NginxOptions {
  /** directives for the plain server; ROOT and DAV in them become its folders */
  readonly server?: string;
  /** whole server blocks */
  readonly more?: string;
  /** of the plain server; default: a free one */
  readonly port?: number;
}

/** @throws when nginx is not installed, or refuses the configuration */
export async function startNginx({ server = "", more = "", port = freePort() }: NginxOptions = {}): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-nginx-"));
  const root = join(folder, "root");
  mkdirSync(root);
  const statusPort = freePort();
  const file = join(folder, "nginx.conf");
  const errors = join(folder, "error.log");
  writeFileSync(file, configuration({ folder, root, port, statusPort, errors, server, more }));
  const forget = () => rmSync(folder, { recursive: true, force: true });
  let program: Program;
  try {
    program = new Program("nginx", ["-p", folder, "-c", file, "-e", errors]);
  } catch (error) {
    forget();
    throw error;
  }
  const status = async () => (await fetch(`http://127.0.0.1:${statusPort}/`, { keepalive: false, proxy: "" })).text();
  let questions = 0;
  const accepted = async () => {
    questions++;
    const counts = /accepts handled requests\s+(\d+)/.exec(await status());
    return Number(counts![1]) - questions;
  };
  const log = () => Bun.file(errors).text();
  try {
    await program.until("nginx answers", async () =>
      accepted().then(
        () => true,
        () => (questions--, false),
      ),
    );
  } catch (error) {
    const told = await log().catch(() => "");
    await program[Symbol.asyncDispose]();
    forget();
    throw new Error(`nginx does not start: ${(error as Error).message}\n${told}`);
  }
  return {
    port,
    address: `127.0.0.1:${port}`,
    root,
    accepted,
    log,
    reload: () => program.signal("SIGHUP"),
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      forget();
    },
  };
}

interface Configuration extends Required<NginxOptions> {
  folder: string;
  root: string;
  statusPort: number;
  errors: string;
}

function configuration({ folder, root, port, statusPort, errors, server, more }: Configuration): string {
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${folder}/${name};`,
  );
  // Its workers would otherwise run as nobody, who may not read this folder.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  return `
daemon off;
${user}
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${errors} warn;
events { worker_connections 8192; }
http {
${places.join("\n")}
  access_log off;
  types { text/plain txt; application/json json; application/octet-stream bin; text/html html; text/css css; image/svg+xml svg; }
  default_type application/octet-stream;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    root ${root};
    ${server.replaceAll("ROOT", root).replaceAll("DAV", folder)}
  }
  server { listen 127.0.0.1:${statusPort}; stub_status; keepalive_timeout 0; }
  ${more}
}
`;
}
