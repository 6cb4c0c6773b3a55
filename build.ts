/**
 * Builds the binaries: `bun run build` for this machine, `--all` for every target, `--target x64-glibc,arm64-musl` for
 * some; `--out DIR` instead of dist. With `--pack` (a release) each is also there as NAME.gz, and SHA256SUMS names those.
 *
 * Never strip a result: the program is appended to Bun's executable, and without it that is the plain Bun CLI.
 */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { constants, createGzip } from "node:zlib";

/** Our name of a target → Bun's, and the name that the original's releases use. */
const targets = {
  "x64-glibc": { bun: "bun-linux-x64", file: "aralez-x86_64-glibc" },
  "x64-musl": { bun: "bun-linux-x64-musl", file: "aralez-x86_64-musl" },
  "arm64-glibc": { bun: "bun-linux-arm64", file: "aralez-aarch64-glibc" },
  "arm64-musl": { bun: "bun-linux-arm64-musl", file: "aralez-aarch64-musl" },
} as const satisfies Record<string, { bun: Bun.Build.CompileTarget; file: string }>;

type Target = keyof typeof targets;

const root = import.meta.dir;
const { values } = parseArgs({
  options: {
    all: { type: "boolean" },
    target: { type: "string", multiple: true },
    out: { type: "string" },
    pack: { type: "boolean" },
  },
});
const names = Object.keys(targets) as Target[];
const asked = (values.target ?? []).flatMap((list) => list.split(",")) as Target[];
for (const name of asked) {
  if (!names.includes(name)) throw new Error(`Cannot build "${name}": expected ${names.join(", ")}`);
}
const out = values.out ?? join(root, "dist");
mkdirSync(out, { recursive: true });
const built: string[] = [];
for (const name of values.all ? names : asked.length > 0 ? asked : [hostTarget()]) built.push(await build(name));
if (values.pack) await pack(built);

/** @returns the file that it wrote */
async function build(name: Target): Promise<string> {
  const { bun: target, file } = targets[name];
  const outfile = join(out, file);
  // The source maps are in the binary; Bun leaves them beside it as well, dozens of them.
  const scratch = mkdtempSync(join(out, ".build-"));
  const begun = performance.now();
  try {
    await Bun.build({
      // A thread's script is an entry of its own: a compiled program finds only what was built into it.
      entrypoints: [
        join(root, "src/main.ts"),
        ...new Bun.Glob("src/**/*-worker.ts").scanSync({ cwd: root, absolute: true }),
      ],
      // Flat, because a chunk lies at the top, where `new URL("./x-worker.ts", import.meta.url)` starts.
      naming: "[name].[ext]",
      compile: {
        target,
        outfile: join(scratch, file),
        // Without these two a bunfig.toml or .env of the current folder would run inside our program.
        autoloadBunfig: false,
        autoloadDotenv: false,
        // For the first listener too, whatever the settings say later (`max_header_bytes`).
        execArgv: ["--max-http-header-size=65536"],
      },
      minify: true,
      bytecode: true,
      // So that a verb loads only what it needs: --help took 17 ms in one piece, 6 so, the first answer 104 and 87.
      splitting: true,
      format: "esm",
      sourcemap: "linked",
      define: { ARALEZ_COMMIT: JSON.stringify(commit()) },
    });
    renameSync(join(scratch, file), outfile);
  } finally {
    rmSync(scratch, { recursive: true });
  }
  const size = (Bun.file(outfile).size / 2 ** 20).toFixed(1);
  console.log(`${outfile}  ${size} MiB  ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  return outfile;
}

/** Nothing in a .gz tells when it was made: the same commit gives the same bytes, and the same SHA256SUMS. */
async function pack(files: readonly string[]): Promise<void> {
  const lines: string[] = [];
  for (const file of files.toSorted()) {
    const packed = `${file}.gz`;
    const gzip = createGzip({ level: constants.Z_BEST_COMPRESSION });
    await pipeline(createReadStream(file), gzip, createWriteStream(packed));
    const hasher = new Bun.CryptoHasher("sha256");
    for await (const bytes of createReadStream(packed)) hasher.update(bytes as Buffer);
    lines.push(`${hasher.digest("hex")}  ${basename(packed)}\n`);
    console.log(`${packed}  ${(Bun.file(packed).size / 2 ** 20).toFixed(1)} MiB`);
  }
  writeFileSync(join(out, "SHA256SUMS"), lines.join(""));
}

function hostTarget(): Target {
  const name = `${process.arch}-${existsSync("/etc/alpine-release") ? "musl" : "glibc"}`;
  if (process.platform !== "linux" || !(name in targets)) {
    throw new Error(
      `Cannot build for this machine (${process.platform} ${name}): name a --target of ${names.join(", ")}`,
    );
  }
  return name as Target;
}

/** The commit built from, with `+` when files differ from it; "unknown" outside a clone. */
function commit(): string {
  const git = (...args: string[]) => {
    const { exitCode, stdout } = Bun.spawnSync(["git", "-C", root, ...args], { stderr: "ignore" });
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  };
  try {
    const hash = git("rev-parse", "--short=12", "HEAD");
    return hash === undefined ? "unknown" : `${hash}${git("status", "--porcelain", "--untracked-files=no") ? "+" : ""}`;
  } catch {
    return "unknown";
  }
}
