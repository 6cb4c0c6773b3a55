/**
 * The proxy of a test in a process of its own: the compiled binary, with `ARALEZ_PROGRAM=dist/aralez-…`. What a test asks of
 * it goes through signals and the admin API.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LogFileRule, WrittenSettings } from "../../src/config/settings.ts";
import type { AcmeState } from "../../src/control/acme/state.ts";
import type { Running } from "../../src/control/control.ts";
import type { SourceState } from "../../src/control/discovery/standing.ts";
import type { Explanation } from "../../src/data/explain/explain.ts";
import type { Question } from "../../src/data/explain/question.ts";
import { showListen, type ListenAddress } from "../../src/lib/address.ts";
import { freePort, Started } from "../cli/program.ts";

/** What a test asks of a running proxy, wherever it runs. */
export interface Served {
  readonly listeners: Running["listeners"];
  reload(): Promise<{ readonly kind: string; readonly problems?: unknown }>;
  /** tables that were put into force; unknown of another process */
  readonly versions?: number;
  sources(): readonly SourceState[] | Promise<readonly SourceState[]>;
  reopenLogs(): void;
  metrics(): Promise<string>;
  explain(question: Question): Promise<Explanation>;
  readonly acme: {
    states(): readonly AcmeState[] | Promise<readonly AcmeState[]>;
    order(name: string, force?: boolean): Promise<"issued" | "fresh">;
    createAccount(): Promise<string>;
  };
  stop(deadlineMs?: number): Promise<void>;
}

/** The tests' proxies have processes of their own. */
export const inChild = process.env.ARALEZ_PROGRAM !== undefined;

/**
 * For tests that reach into the process of the proxy: `if (needsOurProcess("…")) return;`
 * @param what it does there
 * @returns true when the test cannot be run; says so
 */
export function needsOurProcess(what: string): boolean {
  if (inChild) console.log(`not run with the proxy in a process of its own: this test ${what}`);
  return inChild;
}

/** Somebody else took the port between the look and the start: so often another one is tried. */
const startsMax = 5;

/**
 * @param written main.yaml; port 0 = a free one
 * @param folder for main.yaml
 * @throws Error with what it said, when it does not start
 */
export async function startChild(written: WrittenSettings, folder: string): Promise<Served & AsyncDisposable> {
  for (let starts = 1; ; starts++) {
    const settings = withPorts(written);
    const file = join(folder, "main.yaml");
    // YAML reads JSON.
    writeFileSync(file, JSON.stringify(asWritten(settings), null, 2));
    const program = new Started(["-c", file]);
    try {
      await program.until("readiness", () => isReady(settings));
      return new Child(program, settings);
    } catch (error) {
      await program[Symbol.asyncDispose]();
      if (starts === startsMax || !program.err.includes("Cannot listen")) throw refusal(error as Error, program);
    }
  }
}

/** Those that listen on an address. */
const addressKeys = {
  http: "proxy_address_http",
  https: "proxy_address_tls",
  files: "file_server_address",
  admin: "config_address",
} as const satisfies Record<string, keyof WrittenSettings>;

function withPorts(written: WrittenSettings): WrittenSettings {
  const settings: WrittenSettings = {
    ...written,
    // What the admin API tells is told to whoever has the key.
    master_key: written.master_key ?? crypto.randomUUID(),
    // A file may not ask for both; ARALEZ_WORKERS asks for more.
    ...(written.http3 && { threads: 1 }),
  };
  for (const key of Object.values(addressKeys)) {
    const address = settings[key];
    if (address && "port" in address && address.port === 0) settings[key] = { ...address, port: freePort() };
  }
  return settings;
}

/** Values as a file has them. */
function asWritten(settings: WrittenSettings): Record<string, unknown> {
  const written: Record<string, unknown> = { ...settings };
  for (const [key, value] of Object.entries(settings)) {
    if (typeof value !== "object" || value === null) continue;
    if ("unix" in value || ("hostname" in value && "port" in value)) written[key] = showListen(value as ListenAddress);
    if (!("sizeMiB" in value)) continue;
    const { path, sizeMiB, keep, compress } = value as LogFileRule;
    written[key] = [path, `sizeMB=${sizeMiB}`, `keep=${keep}`, ...(compress ? ["compress"] : [])].join(", ");
  }
  return written;
}

/** It told why: the same words that a start in this process throws. */
function refusal(error: Error, { exitCode, err }: Started): Error {
  return exitCode === null || err === "" ? error : new Error(err);
}

function request({ config_address, master_key }: WrittenSettings, path: string, method = "GET"): Promise<Response> {
  const address = config_address!;
  return fetch(`http://${"unix" in address ? "localhost" : showListen(address)}${path}`, {
    method,
    headers: { Authorization: `Bearer ${master_key}`, Accept: "application/json", Connection: "close" },
    proxy: false,
    ...("unix" in address && { unix: address.unix }),
  } as BunFetchRequestInit);
}

/** The admin API is the last that opens. */
function isReady(settings: WrittenSettings): Promise<boolean> {
  return request(settings, "/ready").then(
    ({ status }) => status === 200,
    () => false,
  );
}

class Child implements Served {
  readonly listeners: Running["listeners"];
  readonly acme = {
    states: async () => ((await this.#json("/status")) as { acme: readonly AcmeState[] }).acme,
    order: async (name: string, force = false) =>
      /^Fresh/.test(await this.#text(`/acme_order/${name}${force ? "?force" : ""}`))
        ? ("fresh" as const)
        : ("issued" as const),
    createAccount: async () => (await this.#text("/acme_create")).trim(),
  };

  constructor(
    readonly program: Started,
    readonly settings: WrittenSettings,
  ) {
    this.listeners = Object.entries(addressKeys).flatMap(([name, key]) => {
      const address = settings[key];
      return address ? [{ name, url: `${name === "https" ? "https" : "http"}://${showListen(address)}` }] : [];
    });
  }

  async reload(): Promise<{ kind: string; problems?: unknown }> {
    const response = await request(this.settings, "/reload", "POST");
    if (response.status === 200) return { kind: "applied" };
    if (response.status === 400) return { kind: "refused", problems: await response.json() };
    throw new Error(`POST /reload: ${response.status} ${await response.text()}`);
  }

  reopenLogs(): void {
    this.program.kill("SIGUSR1");
  }

  async sources(): Promise<readonly SourceState[]> {
    const { providers } = (await this.#json("/status")) as { providers: Record<string, never>[] };
    return providers.map(({ name, up, age_seconds: ageSeconds, error = "", routes }) => ({
      name: name!,
      up: up!,
      ageSeconds,
      error,
      routes: routes!,
    }));
  }

  metrics(): Promise<string> {
    return this.#text("/metrics");
  }

  async explain({ method, secure, authority, target, fields, peer }: Question): Promise<Explanation> {
    const query = new URLSearchParams({
      method,
      client: peer,
      url: `${secure ? "https" : "http"}://${authority}${target}`,
    });
    for (const [name, value] of fields) query.append("header", `${name}: ${value}`);
    return (await this.#json(`/explain?${query}`)) as Explanation;
  }

  async stop(deadlineMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (deadlineMs === 0) return this[Symbol.asyncDispose]();
    this.program.kill("SIGTERM");
    const code = await this.program.ended();
    if (code !== 0) throw new Error(`SIGTERM: expected exit code 0, found ${code}\n${this.program.err}`);
  }

  /** @throws Error when it has ended by itself: with a code, or by a signal */
  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, err } = this.program;
    await this.program[Symbol.asyncDispose]();
    if (exitCode !== null && exitCode !== 0) throw new Error(`the proxy ended with ${exitCode}:\n${err}`);
    if (err !== "") console.log(`the proxy said on stderr:\n${err}`);
  }

  async #json(path: string): Promise<unknown> {
    return JSON.parse(await this.#text(path));
  }

  async #text(path: string): Promise<string> {
    const response = await request(this.settings, path);
    const text = await response.text();
    if (response.status !== 200) throw new Error(`GET ${path}: ${response.status} ${text}`);
    return text;
  }
}
