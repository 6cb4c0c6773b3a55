/** Pebble, the ACME test server of Let's Encrypt, with its challenge test server for names, on free ports. */
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startAuthority } from "./tls.ts";
import { until } from "./proxy.ts";

/** Debian's package `pebble` has both. */
export const pebbleIsHere = Bun.which("pebble") !== null && Bun.which("pebble-challtestsrv") !== null;

export interface Pebble extends AsyncDisposable {
  /** of its directory */
  readonly url: string;
  /** PEM file that verifies its HTTPS */
  readonly caFile: string;
  /** what its certificates are signed by, PEM */
  root(): Promise<string>;
  /** whether it offers RFC 9773 */
  suggestsRenewals(): Promise<boolean>;
  /** lets a name lead somewhere else than to 127.0.0.1 */
  point(name: string, address: string): Promise<void>;
  /** whatever it said */
  output(): string;
}

export interface PebbleOptions {
  /** where it validates HTTP-01 */
  readonly httpPort: number;
  /** where it validates TLS-ALPN-01 */
  readonly tlsPort?: number;
  /** names that it refuses */
  readonly refused?: readonly string[];
  /** external accounts, key id → HMAC key in base64url; required when there are any */
  readonly externalAccounts?: Readonly<Record<string, string>>;
}

export async function startPebble(options: PebbleOptions): Promise<Pebble> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-pebble-"));
  const [port, management, names, namesControl] = await freePorts(4);
  using authority = startAuthority("Pebble's own");
  const { cert, key } = authority.sign("/CN=localhost", ["localhost"]);
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const caFile = file("ca.pem", authority.cert);
  const config = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: file("cert.pem", cert),
    privateKey: file("key.pem", key),
    httpPort: options.httpPort,
    tlsPort: options.tlsPort ?? 1,
    ocspResponderURL: "",
    externalAccountBindingRequired: options.externalAccounts !== undefined,
    externalAccountMACKeys: options.externalAccounts,
    domainBlocklist: options.refused ?? [],
  };
  const mains = file("config.json", JSON.stringify({ pebble: config }));
  // Newer ones listen for DNS over HTTPS too, unless told not to, and have another word for DNS.
  const { stderr } = Bun.spawnSync(["pebble-challtestsrv", "-help"]);
  const isNew = stderr.toString().includes("-doh ");
  const nothing = [...(isNew ? ["-doh", ""] : []), "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""];
  const servers = [
    spawn([
      "pebble-challtestsrv",
      isNew ? "-dnsserver" : "-dns01",
      `127.0.0.1:${names}`,
      "-management",
      `127.0.0.1:${namesControl}`,
      ...nothing,
    ]),
    spawn(["pebble", "-config", mains, "-dnsserver", `127.0.0.1:${names}`, "-strict"]),
  ];
  const output = () => servers.map((server) => server.output).join("\n");
  const end = async () => {
    for (const server of servers) await server.end();
    rmSync(folder, { recursive: true, force: true });
  };
  const ask = (url: string, init: RequestInit = {}) =>
    fetch(url, { ...init, proxy: "", tls: { ca: authority.cert } } as BunFetchRequestInit);
  const url = `https://localhost:${port}/dir`;
  try {
    await until(
      () =>
        ask(url).then(
          ({ ok }) => ok,
          () => false,
        ),
      "Pebble to listen",
    );
    await until(
      () =>
        fetch(`http://127.0.0.1:${namesControl}/`, { proxy: "" } as BunFetchRequestInit).then(
          () => true,
          () => false,
        ),
      "its name server to listen",
    );
  } catch (error) {
    await end();
    throw new Error(`${(error as Error).message}; ${output()}`);
  }
  return {
    url,
    caFile,
    root: async () => (await ask(`https://localhost:${management}/roots/0`)).text(),
    suggestsRenewals: async () => "renewalInfo" in ((await (await ask(url)).json()) as object),
    async point(name, address) {
      const body = JSON.stringify({ host: `${name}.`, addresses: [address] });
      const { ok } = await ask(`http://127.0.0.1:${namesControl}/add-a`, { method: "POST", body });
      if (!ok) throw new Error(`Cannot point ${name} to ${address}`);
    },
    output,
    [Symbol.asyncDispose]: end,
  };
}

function spawn(command: string[]) {
  const child = Bun.spawn(command, {
    cwd: tmpdir(),
    // No pauses before validations; many nonces and no authorization are good for a second time: what a client must bear.
    env: { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "30", PEBBLE_AUTHZREUSE: "0" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const server = {
    output: "",
    async end() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
  const collect = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) server.output += decoder.decode(bytes, { stream: true });
  };
  void collect(child.stdout);
  void collect(child.stderr);
  return server;
}

/** Free for TCP and UDP at this moment, and each another one. */
async function freePorts(count: number): Promise<number[]> {
  const held = await Promise.all(Array.from({ length: count }, freeForBoth));
  for (const { close } of held) close();
  return held.map(({ port }) => port);
}

async function freeForBoth(): Promise<{ port: number; close(): void }> {
  for (;;) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const socket = createSocket("udp4");
    const isFree = await new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(false));
      socket.bind(port, "127.0.0.1", () => resolve(true));
    });
    socket.close();
    if (isFree) return { port, close: () => void server.close() };
    server.close();
  }
}
