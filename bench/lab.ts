/** Lab: the temp folder and the running processes of one scenario; closing it leaves nothing behind. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "./ask.ts";
import { certificateFiles, makeCertificate } from "./certificate.ts";
import type { Contender, Plan, TlsPlace } from "./contenders/contender.ts";
import { contenders, type ContenderName } from "./contenders/index.ts";
import { ConnectionCount, planOrigin, writeOriginFiles } from "./origin.ts";
import { cores, startOn, type Child, type Cores } from "./processes.ts";
import { checkResumption } from "./resumption.ts";
import type { Scenario } from "./scenarios.ts";
import { cookieOf, host, prefix } from "./site.ts";
import type { UserContenderName } from "./user/contenders.ts";
import { UserSite } from "./user/lab.ts";
import { checkWork } from "./work.ts";

const readyWaitMs = 15_000;

export interface Trees {
  readonly tree: string;
  readonly baseline: string | undefined;
}

/** What runs. */
export interface LabOptions extends Trees {
  /** of each contender */
  readonly workers: number;
  /** Aralez as `npm run build` makes it */
  readonly binary: string;
}

export interface Running {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  /** of a user's benchmark, where `port` is the one in clear */
  readonly tlsPort: number;
  /** header lines that its clients send beside the scenario's */
  readonly clientLines: Readonly<Record<string, string>>;
  /** @throws Error with the end of its output when it has died */
  mustRun(): void;
}

export class Lab implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "aralez-bench-"));
  readonly cores: Cores;
  readonly #children: Child[] = [];
  #originPort = 0;
  #echoPort = 0;
  #scenario: Scenario | undefined;
  #tls: Omit<TlsPlace, "plainPort"> | undefined;
  #connections: ConnectionCount | undefined;
  #user: UserSite | undefined;
  #closing: Promise<void> | undefined;

  constructor(readonly options: LabOptions) {
    this.cores = cores(options.workers);
  }

  /** Starts what the scenario needs beside the contenders. */
  async startOrigin(scenario: Scenario): Promise<void> {
    this.#scenario = scenario;
    if (scenario.user) {
      this.#user = new UserSite({
        ...this.options,
        freePort,
        folderFor: (name) => this.#folder(name),
        start: (name, port, plan, folder, where) => this.#start(name, port, plan, this.cores[where], folder),
      });
      return this.#user.startServers();
    }
    const folder = this.#folder("origin");
    const port = (this.#originPort = freePort());
    writeOriginFiles(folder);
    await this.#start("the origin", port, planOrigin(folder, port), this.cores.origin, folder);
    this.#connections = new ConnectionCount(port);
    this.#echoPort = freePort();
    if (scenario.tool === "websocket") await this.#startOwn("echo", this.#echoPort);
    if (!scenario.tls) return;
    this.#tls = { ...certificateFiles(this.#folder("tls")), h2cPort: freePort() };
    makeCertificate(this.#tls);
    if (scenario.upstream === "h2c") await this.#startOwn("h2c-origin", this.#tls.h2cPort);
  }

  /** A server of our own: a program in this folder. */
  async #startOwn(name: "echo" | "h2c-origin", port: number): Promise<void> {
    const command = [process.execPath, join(import.meta.dir, `${name}.ts`), String(port)];
    await this.#start(`the server ${name}.ts`, port, { command, files: {} }, this.cores.origin, this.#folder(name));
  }

  /** Connections that reached the origin so far. */
  originConnections(): Promise<number> {
    return this.#user?.connections() ?? this.#connections!.read();
  }

  async start(name: string): Promise<Running> {
    if (!this.#user) return this.#startUsual(name as ContenderName);
    return { name, clientLines: {}, ...(await this.#user.start(name as UserContenderName)) };
  }

  async #startUsual(name: ContenderName): Promise<Running> {
    const folder = this.#folder(name);
    const port = freePort();
    const tls = this.#tls && { tls: { ...this.#tls, plainPort: freePort() } };
    const place = { folder, port, originPort: this.#originPort, echoPort: this.#echoPort, ...tls, ...this.options };
    const contender: Contender = contenders[name];
    const { clientLines = {}, keepsCookie } = contender;
    const running = await this.#start(name, port, contender.plan(place), this.cores.proxy, folder);
    await this.#check(name, port, clientLines);
    return {
      name,
      ...running,
      tlsPort: port,
      clientLines: keepsCookie ? await withCookie(port, clientLines) : clientLines,
    };
  }

  async #check(name: ContenderName, port: number, clientLines: Running["clientLines"]): Promise<void> {
    const { tool, tls = false, streams, upstream, connects, grpc = false } = this.#scenario!;
    const asked = { echo: tool === "websocket", h2c: upstream === "h2c", grpc, clientLines };
    await checkWork({ port, tls, http2: streams !== undefined }, name, asked);
    if (connects === "resumed") await checkResumption(port, name, this.folder);
  }

  /** Stops everything, in the opposite order, and removes the folder; harmless when called again. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #folder(name: string): string {
    const folder = join(this.folder, name);
    mkdirSync(folder);
    return folder;
  }

  async #start(name: string, port: number, plan: Plan, allowed: string, folder: string) {
    // What is started after that would not be stopped.
    if (this.#closing) throw new Error("stopped");
    for (const [file, content] of Object.entries(plan.files)) writeFileSync(join(folder, file), content);
    const output = join(folder, "output.txt");
    const child = startOn(plan.command, { cores: allowed, cwd: plan.cwd ?? folder, output });
    this.#children.push(child);
    const mustRun = () => {
      if (child.ended !== undefined)
        throw new Error(
          `${name} is not running any more (${child.ended}): ${readFileSync(output, "utf8").trim().slice(-2_000)}`,
        );
    };
    await accepts(port, name, mustRun);
    return { pid: child.pid, port, mustRun };
  }
}

const givenPorts = new Set<number>();

/** A port that was free a moment ago, and another one each time. */
function freePort(): number {
  for (;;) {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { port } = listener;
    listener.stop(true);
    if (givenPorts.has(port)) continue;
    givenPorts.add(port);
    return port;
  }
}

/** The lines with the cookie that a first request is given. @throws Error when there is none */
async function withCookie(port: number, lines: Running["clientLines"]): Promise<Running["clientLines"]> {
  const question = { host, target: `${prefix}/small`, headers: lines };
  const { fields } = await ask({ port, tls: false, http2: false }, question);
  return { ...lines, Cookie: cookieOf(fields.get("set-cookie")) };
}

/**
 * Waits until something accepts connections there, and still does a moment later: a port of this range may be had by
 * somebody else for a moment, for example by what Aralez tries out before it listens.
 */
async function accepts(port: number, name: string, mustRun: () => void): Promise<void> {
  const deadline = performance.now() + readyWaitMs;
  for (let times = 0; times < 2;) {
    await Bun.sleep(times === 0 ? 20 : 100);
    mustRun();
    try {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
      socket.terminate();
      times++;
    } catch {
      times = 0;
      if (performance.now() > deadline)
        throw new Error(`${name} does not accept connections on port ${port} after ${readyWaitMs / 1000} s`);
    }
  }
}
