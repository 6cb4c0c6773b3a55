/** Starts the real program, from source or, with ARALEZ_PROGRAM, a compiled one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

/** Words that start the program. */
export const program: string[] = process.env.ARALEZ_PROGRAM
  ? [process.env.ARALEZ_PROGRAM]
  : [process.execPath, join(root, "src/main.ts")];

/** A test that takes this long has failed. */
const patienceMs = 20_000;

export interface Result {
  code: number;
  out: string;
  err: string;
}

interface Given {
  cwd?: string;
  env?: Record<string, string | undefined>;
  /** where the tests run as root: user and group id of the program */
  uid?: number;
}

/** Words that start it, as that user. */
function wordsFor(args: string[], uid: number | undefined): string[] {
  const words = [...program, ...args];
  if (uid === undefined || process.getuid?.() !== 0) return words;
  return ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--", ...words];
}

/** The environment without what would change the program's mind. */
function environment(more: Given["env"] = {}): Record<string, string | undefined> {
  const { ARALEZ_CONFIG, JWT_KEY, BUN_CONFIG_MAX_HTTP_REQUESTS, BUN_OPTIONS, ...rest } = process.env;
  return { ...rest, NO_COLOR: "1", ...more };
}

/** Runs it to its end. */
export async function run(args: string[], { cwd = tmpdir(), env, uid }: Given = {}): Promise<Result> {
  const child = Bun.spawn(wordsFor(args, uid), {
    cwd,
    env: environment(env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: patienceMs,
    killSignal: "SIGKILL",
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, out, err };
}

/** A program that goes on until it is told to stop. */
export class Started {
  readonly #child;
  out = "";
  err = "";

  constructor(args: string[], { cwd = tmpdir(), env, uid }: Given = {}) {
    const child = Bun.spawn(wordsFor(args, uid), {
      cwd,
      env: environment(env),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#child = child;
    void this.#collect(child.stdout, (text) => (this.out += text));
    void this.#collect(child.stderr, (text) => (this.err += text));
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** @returns the exit code; null while it runs */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves with what `find` finds, once it does. @throws when the program ends first, or after a long while */
  async until<T>(
    what: string,
    find: () => T | undefined | false | null | Promise<T | undefined | false | null>,
  ): Promise<T> {
    const endMs = performance.now() + patienceMs;
    for (;;) {
      const found = await find();
      if (found) return found;
      if (this.exitCode !== null || performance.now() > endMs) {
        const state = this.exitCode === null ? "it still runs" : `it ended with ${this.exitCode}`;
        throw new Error(`never saw ${what}: ${state}\nstdout: ${this.out}\nstderr: ${this.err}`);
      }
      await Bun.sleep(5);
    }
  }

  /** @returns the first http:// address at the start of a line of stdout */
  url(): Promise<string> {
    return this.until("its address", () => /^http:\/\/\S+(?=\s)/m.exec(this.out)?.[0]);
  }

  /** Waits for the end. @returns the exit code */
  async ended(): Promise<number> {
    const timer = setTimeout(() => this.kill("SIGKILL"), patienceMs);
    const code = await this.#child.exited;
    clearTimeout(timer);
    return code;
  }

  /** Ends it, however. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#child.exited;
  }

  async #collect(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) take(decoder.decode(bytes, { stream: true }));
  }
}

/** A folder that goes away at the end of its scope. */
export function temporaryFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "aralez-cli-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A server that says its name and what it was asked for. */
export function origin(name: string) {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    reusePort: false,
    fetch: (request) => new Response(`${name} ${new URL(request.url).pathname}`),
  });
}

/** A port that nobody listens on at this moment: a configuration file cannot ask for any free one. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}
