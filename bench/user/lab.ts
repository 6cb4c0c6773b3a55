/** What a lab starts for the user's benchmark: three servers, and contenders with two ports. */
import { join } from "node:path";
import { certificateFiles, makeCertificate, type CertificateFiles } from "../certificate.ts";
import { ConnectionCount } from "../origin.ts";
import { tree } from "../processes.ts";
import { userContenders, type UserContenderName } from "./contenders.ts";
import type { UserContender } from "./contender.ts";
import { planUserOrigin } from "./origin.ts";
import { servers } from "./site.ts";
import { checkUserWork, serverName, WrongWork } from "./work.ts";
import type { Plan } from "../contenders/contender.ts";

const readyWaitMs = 30_000;

/** What it needs of the lab. */
export interface Bench {
  readonly workers: number;
  readonly binary: string;
  folderFor(name: string): string;
  freePort(): number;
  start(
    name: string,
    port: number,
    plan: Plan,
    folder: string,
    where: "proxy" | "origin",
  ): Promise<{ readonly pid: number; mustRun(): void }>;
}

export class UserSite {
  readonly #ports: number[] = [];
  #connections: readonly ConnectionCount[] = [];
  #certificate: CertificateFiles | undefined;

  constructor(readonly bench: Bench) {}

  async startServers(): Promise<void> {
    const { bench } = this;
    for (let i = 0; i < servers; i++) {
      const port = bench.freePort();
      const name = serverName(i);
      const folder = bench.folderFor(name);
      await bench.start(name, port, planUserOrigin(folder, port, name), folder, "origin");
      this.#ports.push(port);
    }
    this.#connections = this.#ports.map((port) => new ConnectionCount(port));
    this.#certificate = certificateFiles(join(bench.folderFor("tls"), "certificates"));
    makeCertificate(this.#certificate);
  }

  /** Connections that reached the servers so far. */
  async connections(): Promise<number> {
    let sum = 0;
    for (const count of this.#connections) sum += await count.read();
    return sum;
  }

  /** @throws Error when it cannot run, has fewer processes than workers, or does not do its work */
  async start(name: UserContenderName) {
    const { bench } = this;
    const { workers, binary } = bench;
    const contender: UserContender = userContenders[name];
    const folder = bench.folderFor(name);
    const [plainPort, tlsPort, adminPort] = [bench.freePort(), bench.freePort(), bench.freePort()];
    const ports = { plainPort, tlsPort, adminPort, serverPorts: this.#ports };
    const plan = contender.plan({ folder, ...ports, certificate: this.#certificate!, workers, binary });
    const running = await bench.start(name, plainPort, plan, folder, "proxy");
    const { length: processes } = tree(running.pid);
    if (plan.processes !== undefined && processes < plan.processes)
      throw new Error(`${name} runs as ${processes} process(es), expected ${plan.processes}: it has no workers here`);
    await this.#works(name, plainPort, tlsPort);
    return { ...running, port: plainPort, tlsPort };
  }

  /** A proxy that has just begun may not know its servers yet. */
  async #works(name: string, plainPort: number, tlsPort: number): Promise<void> {
    const deadline = performance.now() + readyWaitMs;
    for (;;) {
      try {
        return await checkUserWork(name, plainPort, tlsPort);
      } catch (error) {
        if (error instanceof WrongWork || performance.now() > deadline) throw error;
        await Bun.sleep(500);
      }
    }
  }
}
