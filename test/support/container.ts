/**
 * The image without an engine: buildah makes it of the Dockerfile on a base by debootstrap, and `Container` runs it as an
 * engine does: namespaces of its own, a read-only root, the image's user without a capability, low ports open to everybody.
 */
import { mkdirSync, readFileSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { pathOf, type ProgramName } from "./programs.ts";
import { until } from "./proxy.ts";

const root = join(import.meta.dir, "../..");

/** Runs a program to its end. @throws Error with its output unless it ends with 0 */
export async function done(name: ProgramName, args: readonly string[], cwd = root): Promise<string> {
  const { code, text } = await finished([pathOf(name), ...args], cwd);
  if (code !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${code}:\n${text}`);
  return text;
}

/** @returns its exit code, and stdout and stderr in one */
export async function finished(words: readonly string[], cwd = root): Promise<{ code: number; text: string }> {
  const child = Bun.spawn([...words], { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, text: out + err };
}

/** What the engines read of an image. */
export interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly StopSignal: string;
  readonly Healthcheck: { readonly Test: readonly string[] };
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly Volumes: Readonly<Record<string, unknown>>;
  readonly Labels: Readonly<Record<string, string>>;
}

/** statfs(2): OVERLAYFS_SUPER_MAGIC */
const overlayMagic = 0x794c7630;

/** Builds images in a store of its own. */
export class ImageStore {
  readonly #where: readonly string[];

  /** @param folder for the store and the base */
  constructor(readonly folder: string) {
    // An overlay cannot lie on an overlay: within a container every layer is a copy.
    const driver = statfsSync(folder).type === overlayMagic ? ["--storage-driver", "vfs"] : [];
    this.#where = ["--root", join(folder, "store"), "--runroot", join(folder, "run"), ...driver];
  }

  /**
   * A Debian as slim as debootstrap makes it.
   * @param made by debootstrap before: saves a minute
   * @returns the image's name
   */
  async base(suite: string, made?: string): Promise<string> {
    const tree = made ?? join(this.folder, suite);
    if (!made) await done("debootstrap", ["--variant=minbase", suite, tree, "http://deb.debian.org/debian"]);
    const container = await this.buildah("from", "scratch");
    await this.buildah("add", "--quiet", container, tree, "/");
    const name = `localhost/${suite}:latest`;
    await this.buildah("commit", "--quiet", "--rm", "--format", "docker", container, name);
    return name;
  }

  /** The Dockerfile. @param arch TARGETARCH */
  async build(base: string, arch: string): Promise<string> {
    const name = `localhost/aralez:${arch}`;
    const args = [`BASE=${base}`, `TARGETARCH=${arch}`, "VERSION=1.2.3"].flatMap((arg) => ["--build-arg", arg]);
    await this.buildah("bud", "--isolation", "chroot", "--format", "docker", ...args, "-t", name, root);
    return name;
  }

  async configOf(image: string): Promise<ImageConfig> {
    return JSON.parse(await this.buildah("inspect", "--type", "image", image)).Docker.config as ImageConfig;
  }

  /** @returns the folder of its files */
  async mount(image: string): Promise<string> {
    const container = await this.buildah("from", "--pull-never", image);
    return this.buildah("mount", container);
  }

  /** Unmounts and removes all containers, so that the folder can be removed. */
  async close(): Promise<void> {
    await this.buildah("rm", "--all");
  }

  async buildah(...args: string[]): Promise<string> {
    return (await done("buildah", [...this.#where, ...args])).trim();
  }
}

/** Folders of this machine, as `-v` mounts them. */
export interface Volumes {
  /** at /etc/aralez, read-only; without it the image's own */
  readonly configuration?: string;
  /** at /var/lib/aralez */
  readonly state?: string;
}

/** $1 the files of the image, $2 uid:gid, $3 and $4 the volumes or "", then the command. */
const engine = `
mount --make-rprivate /
ip link set lo up
# As Docker and Podman do for every container with a network of its own.
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
files=$1 uid=\${2%:*} gid=\${2#*:} configuration=$3 state=$4
shift 4
mount --bind "$files" "$files"
[ -z "$configuration" ] || { mount --bind "$configuration" "$files/etc/aralez"; mount -o remount,bind,ro "$files/etc/aralez"; }
[ -z "$state" ] || mount --bind "$state" "$files/var/lib/aralez"
mount -t proc proc "$files/proc"
mount -t tmpfs -o mode=755 tmpfs "$files/dev"
for device in null zero full random urandom tty; do
  touch "$files/dev/$device"
  mount --bind "/dev/$device" "$files/dev/$device"
done
mkdir -m 1777 "$files/dev/shm"
mount -o remount,bind,ro "$files"
exec chroot "$files" setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
`;

/** A running image; its first process is the program itself. */
export class Container implements AsyncDisposable {
  readonly #child;
  output = "";

  /** @param files from {@link ImageStore.mount}  @param args instead of CMD */
  constructor(
    readonly config: ImageConfig,
    files: string,
    { configuration = "", state = "" }: Volumes = {},
    args: readonly string[] = config.Cmd,
  ) {
    const spaces = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"];
    const script = ["sh", "-euc", engine, "engine", files, config.User, configuration, state];
    const env = Object.fromEntries(config.Env.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
    this.#child = Bun.spawn([pathOf("unshare"), ...spaces, ...script, ...config.Entrypoint, ...args], {
      cwd: "/",
      env: { ...env, PATH: process.env.PATH },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) void this.#collect(stream);
  }

  /** of its first process, in our eyes */
  get pid(): number {
    const outer = this.#child.pid;
    return Number(readFileSync(`/proc/${outer}/task/${outer}/children`, "utf8").trim().split(" ")[0] || 0);
  }

  /** Lines of /proc/PID/status: `Uid`, `CapEff`, … */
  status(line: string): string {
    const found = new RegExp(`^${line}:\\s+(.*)$`, "m").exec(readFileSync(`/proc/${this.pid}/status`, "utf8"));
    return found?.[1] ?? "";
  }

  /** The command of HEALTHCHECK, as the engine runs it. @returns its exit code, and what it said */
  check(): Promise<{ code: number; text: string }> {
    return this.run(this.config.Healthcheck.Test.slice(1));
  }

  /** Runs a command inside, as `docker exec` does. */
  run(words: readonly string[]): Promise<{ code: number; text: string }> {
    const [uid, gid] = this.config.User.split(":");
    const enter = ["-t", String(this.pid), "--mount", "--net", "--pid", "--ipc", "--root"];
    return finished([pathOf("nsenter"), ...enter, "-S", uid!, "-G", gid!, "--", "env", "--chdir=/", ...words]);
  }

  /** Words that run a program of this machine in its network. */
  inNetwork(words: readonly string[]): string[] {
    return [pathOf("nsenter"), "-t", String(this.pid), "--net", "--", ...words];
  }

  /** @returns what curl printed of an answer, once there is one */
  curl(...args: string[]): Promise<string> {
    return until(
      async () => {
        if (this.#child.exitCode !== null) throw new Error(`the container ended: ${this.output}`);
        const words = this.pid ? this.inNetwork([pathOf("curl"), "-sS", "--max-time", "10", ...args]) : ["false"];
        const { code, text } = await finished(words);
        return code === 0 && text;
      },
      `an answer to curl ${args.join(" ")}\n${this.output}`,
      60,
    );
  }

  /** What `docker stop` does. @returns the exit code */
  async stop(): Promise<number> {
    process.kill(this.pid, this.config.StopSignal as NodeJS.Signals);
    return this.ended();
  }

  async ended(): Promise<number> {
    return this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A change of user takes --kill-child away from the program (prctl(2), PR_SET_PDEATHSIG).
    if (this.#child.exitCode === null && this.pid) process.kill(this.pid, "SIGKILL");
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) this.output += decoder.decode(bytes, { stream: true });
  }
}

/** An empty folder that belongs to that user. */
export async function ownedFolder(path: string, owner: string): Promise<string> {
  mkdirSync(path, { mode: 0o700 });
  await done("chown", [owner, path]);
  return path;
}
