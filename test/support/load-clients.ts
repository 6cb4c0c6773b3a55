/** Constant load from a process of its own, by the scripts http-clients, https-clients and http2-clients. */
import { join } from "node:path";
import { pathOf } from "./programs.ts";

export interface Outcome {
  readonly answered: number;
  readonly failures: Readonly<Record<string, number>>;
}

export interface LoadClients extends AsyncDisposable {
  /** Has them finish what they do. */
  end(): Promise<Outcome>;
}

/** @param args of the script, behind port and name */
export function startLoad(
  script: "http" | "https" | "http2",
  port: number,
  name: string,
  ...args: number[]
): LoadClients {
  const file = join(import.meta.dir, `${script}-clients.mjs`);
  const child = Bun.spawn([pathOf("node"), file, String(port), name, ...args.map(String)], {
    stdin: "pipe",
    stdout: "pipe",
  });
  return {
    async end() {
      await child.stdin.end();
      return JSON.parse(await new Response(child.stdout).text()) as Outcome;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
