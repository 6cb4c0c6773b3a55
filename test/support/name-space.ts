/** A network of its own, where a test may have ports 80 and 443: for root, with util-linux and iproute2. */
import { program } from "../cli/program.ts";
import { until } from "./proxy.ts";

/** @returns why the program cannot be run as another user here, or undefined */
export function noOtherUser(): string | undefined {
  if (process.getuid?.() !== 0) return "it takes root";
  if (!Bun.which("setpriv")) return "setpriv not installed";
  const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
  const hidden = program.find((word) => Bun.spawnSync([...nobody, "test", "-r", word]).exitCode !== 0);
  return hidden === undefined ? undefined : `other users may not read ${hidden}`;
}

/** @returns why there can be none here, or undefined */
export function noNameSpace(): string | undefined {
  const why = noOtherUser();
  if (why !== undefined) return why;
  const missing = ["unshare", "nsenter", "ip", "curl", "openssl"].filter((name) => !Bun.which(name));
  if (missing.length > 0) return `${missing.join(", ")} not installed`;
  return Bun.spawnSync(["unshare", "-n", "true"]).exitCode === 0
    ? undefined
    : "this machine has no network name spaces";
}

export class NameSpace implements AsyncDisposable {
  readonly #holder;
  readonly #children: Bun.Subprocess[] = [];

  private constructor() {
    this.#holder = Bun.spawn(["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"], {
      stdout: "pipe",
    });
  }

  static async open(): Promise<NameSpace> {
    const space = new NameSpace();
    const reader = space.#holder.stdout.getReader();
    await until(async () => new TextDecoder().decode((await reader.read()).value).includes("up"), "the network");
    return space;
  }

  #words(words: readonly string[]): string[] {
    return ["nsenter", "-t", String(this.#holder.pid), "-n", ...words];
  }

  /** Starts the program in it. */
  start(args: readonly string[]) {
    const child = Bun.spawn(this.#words([...program, ...args]), { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    this.#children.push(child);
    return child;
  }

  /** Runs a command to its end. @returns what it printed */
  async run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
    const child = Bun.spawn(this.#words(words), { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { out, err, code };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [...this.#children, this.#holder]) {
      child.kill("SIGKILL");
      await child.exited;
    }
  }
}
