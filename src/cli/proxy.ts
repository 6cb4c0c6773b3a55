/** The verb `proxy`: from one address to some servers, without any file. */
import { readListenAddress, readServer } from "../lib/address.ts";
import { UsageError } from "./arguments.ts";
import { raiseRequestLimit } from "./request-limit.ts";
import { textOf, type Call } from "./verb.ts";

export async function run(call: Call): Promise<number> {
  const { flags, env } = call;
  const files = filesOf(call);
  if (flags["print-config"]) {
    console.log(`# main.yaml\n${files.main}---\n# upstreams.yaml\n${files.upstreams}`.trimEnd());
    return 0;
  }
  raiseRequestLimit(env);
  const { loadSettings } = await import("../config/load-settings.ts");
  const { renderProblems } = await import("../config/problem.ts");
  const { serve } = await import("./serve.ts");
  const { settings, problems } = loadSettings({ file: "aralez proxy", text: files.main }, {});
  if (!settings) {
    console.error(renderProblems(problems));
    return 1;
  }
  // Notes are about lines that nobody wrote.
  const remarks = problems.filter(({ severity }) => severity !== "note");
  return serve(
    { settings, rules: { kind: "text", name: "aralez proxy", text: files.upstreams }, problems: remarks, env },
    (running) => console.log(`${running.listeners[0]!.url.replace(/\/$/, "")} forwards to ${files.servers.join(", ")}`),
  );
}

interface Files {
  /** main.yaml */
  main: string;
  upstreams: string;
  servers: string[];
}

/** The two files that do the same. @throws UsageError */
function filesOf(call: Call): Files {
  const from = textOf(call, "from") ?? "127.0.0.1:8080";
  checked("--from", from, readListenAddress);
  const { to } = call.flags;
  const servers = (Array.isArray(to) ? to : [])
    .flatMap((list) => list.split(","))
    .map((server) => server.trim())
    .filter((server) => server !== "")
    // `:3000` is this machine, as in `--from`.
    .map((server) => (server.startsWith(":") ? `127.0.0.1${server}` : server));
  if (servers.length === 0) throw new UsageError("proxy needs --to ADDR, for example --to 127.0.0.1:3000", "proxy");
  for (const server of servers) checked("--to", server, readServer);
  return {
    servers,
    main: `proxy_address_http: ${JSON.stringify(from)}\n${adminLine(from, servers)}${call.flags["access-log"] ? "access_log: all\n" : ""}`,
    upstreams: `provider: file
upstreams:
  DEFAULT:
    paths:
      "/":
        servers:
${servers.map((server) => `          - ${JSON.stringify(server)}\n`).join("")}`,
  };
}

/** The admin API's default, 127.0.0.1:3000, is where many servers listen; it gives way to those that are named. */
function adminLine(from: string, servers: string[]): string {
  const taken = new Set([from, ...servers].map((address) => Number(/:([0-9]+)\/?$/.exec(address)?.[1])));
  let port = adminPortDefault;
  while (taken.has(port)) port++;
  return port === adminPortDefault ? "" : `config_address: 127.0.0.1:${port}\n`;
}

const adminPortDefault = 3000;

function checked(flag: string, text: string, read: (text: string) => unknown): void {
  try {
    read(text);
  } catch (error) {
    throw new UsageError(`${flag}: ${(error as Error).message}`, "proxy");
  }
}
