/** Programs that the real runs start: found on PATH, told to end by their own process, their output kept. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../support/proxy.ts";

/** A program that may be stopped and started again with the same arguments. */
export class RealProgram implements AsyncDisposable {
  #child: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;
  output = "";

  /** @param path from {@link find} */
  constructor(
    readonly path: string,
    readonly args: readonly string[],
  ) {}

  /** @param ready is asked until it holds */
  async start(ready: () => Promise<boolean>): Promise<void> {
    const child = Bun.spawn([this.path, ...this.args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) void this.#collect(stream);
    await until(
      async () => {
        if (child.exitCode !== null)
          throw new Error(`${this.path} ended with ${child.exitCode}: ${this.output.slice(-2000)}`);
        return ready().catch(() => false);
      },
      `${this.path} to be ready; it said: ${this.output.slice(-500)}`,
    );
  }

  async stop(): Promise<void> {
    this.#child?.kill("SIGTERM");
    const late = setTimeout(() => this.#child?.kill("SIGKILL"), 10_000);
    await this.#child?.exited;
    clearTimeout(late);
    this.#child = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream)
      this.output = (this.output + decoder.decode(bytes, { stream: true })).slice(-100_000);
  }
}

/** @returns the program's path, or undefined when it is not on PATH */
export function find(name: string): string | undefined {
  return Bun.which(name) ?? undefined;
}

export function folderFor(name: string): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), `aralez-real-${name}-`));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
