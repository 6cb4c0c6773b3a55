/**
 * The four binaries in dist/: what each needs of a machine, and that each answers a request, the foreign ones under qemu
 * and beside a musl that is fetched for it. For `.ci/full`.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { freePort, origin } from "../cli/program.ts";
import { done, finished } from "../support/container.ts";
import { glibcForArm64, muslFor } from "../support/foreign-roots.ts";
import { pathOf } from "../support/programs.ts";
import { until } from "../support/proxy.ts";

const dist = join(import.meta.dir, "../../dist");

/** What the README promises of each. */
const needs = {
  "x86_64-glibc": {
    machine: "Advanced Micro Devices X86-64",
    loader: "/lib64/ld-linux-x86-64.so.2",
    libraries: ["ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"],
  },
  "aarch64-glibc": {
    machine: "AArch64",
    loader: "/lib/ld-linux-aarch64.so.1",
    libraries: ["ld-linux-aarch64.so.1", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"],
  },
  "x86_64-musl": {
    machine: "Advanced Micro Devices X86-64",
    loader: "/lib/ld-musl-x86_64.so.1",
    libraries: ["libc.musl-x86_64.so.1", "libstdc++.so.6"],
  },
  "aarch64-musl": {
    machine: "AArch64",
    loader: "/lib/ld-musl-aarch64.so.1",
    libraries: ["libc.musl-aarch64.so.1", "libstdc++.so.6"],
  },
} as const;
type Name = keyof typeof needs;
const names = Object.keys(needs) as Name[];
const fileOf = (name: Name) => join(dist, `aralez-${name}`);

const folder = mkdtempSync(join(tmpdir(), "aralez-binaries-"));
/** What each foreign one finds its libraries in; for musl why not, where the packages cannot be had. */
const roots: Partial<Record<Name, string | Error>> = {};

beforeAll(async () => {
  roots["aarch64-glibc"] = await glibcForArm64(folder);
  for (const [name, arch] of [
    ["x86_64-musl", "amd64"],
    ["aarch64-musl", "arm64"],
  ] as const)
    roots[name] = await muslFor(folder, arch).catch((error: Error) => error);
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(names)("aralez-%s", (name) => {
  test("needs what the README says, and nothing else", async () => {
    const { machine, loader, libraries } = needs[name];
    const file = fileOf(name);
    expect(await done("readelf", ["-h", file])).toContain(machine);
    expect(await done("readelf", ["-lW", file])).toContain(`[Requesting program interpreter: ${loader}]`);
    const wanted = (await done("readelf", ["-dW", file])).matchAll(/\(NEEDED\).*\[(.*)\]/g);
    expect([...wanted].map(([, library]) => library!).sort()).toEqual([...libraries]);
    const versions = [...(await done("readelf", ["-VW", file])).matchAll(/\bGLIBC_(\d+)\.(\d+)/g)];
    expect(versions.length > 0).toBe(name.endsWith("glibc"));
    for (const [version, major, minor] of versions)
      expect([version, Number(major) === 2 && Number(minor) <= 17]).toEqual([version, true]);
  }, 60_000);

  test("is packed: NAME.gz unpacks to it, and SHA256SUMS agrees", async () => {
    const file = fileOf(name);
    const packed = readFileSync(`${file}.gz`);
    expect(Bun.hash(Bun.gunzipSync(packed))).toBe(Bun.hash(readFileSync(file)));
    const digest = new Bun.CryptoHasher("sha256").update(packed).digest("hex");
    expect(readFileSync(join(dist, "SHA256SUMS"), "utf8")).toContain(`${digest}  ${basename(file)}.gz\n`);
    // Nothing in it tells when it was made (RFC 1952: MTIME).
    expect([...packed.subarray(4, 8)]).toEqual([0, 0, 0, 0]);
  }, 60_000);

  test("says its version and commit, and proxies a request", async () => {
    const words = wordsFor(name);
    if (words instanceof Error) return void console.log(`aralez-${name} is not run here: ${words.message}`);
    const { code, text } = await finished([...words, "version", "--long"], folder);
    expect(text).toContain(`aralez ${manifest.version}\ncommit `);
    expect(text).not.toContain("commit unknown");
    expect(text).toContain(`Bun ${manifest.devDependencies.bun}\nlinux ${name.startsWith("x86") ? "x64" : "arm64"}`);
    expect(code).toBe(0);

    using up = origin(name);
    const port = freePort();
    const child = Bun.spawn([...words, "proxy", "--from", `127.0.0.1:${port}`, "--to", `127.0.0.1:${up.port}`], {
      cwd: folder,
      env: { PATH: process.env.PATH, NO_COLOR: "1" },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    try {
      const answer = await until(
        () =>
          fetch(`http://127.0.0.1:${port}/through`, { signal: AbortSignal.timeout(20_000) }).then(
            async (response) => response.status === 200 && response.text(),
            () => undefined,
          ),
        `an answer of aralez-${name}`,
        90,
      );
      expect(answer).toBe(`${name} /through`);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  }, 240_000);
});

/** @returns words that start it, or why it cannot be started here */
function wordsFor(name: Name): string[] | Error {
  const file = fileOf(name);
  if (name === "x86_64-glibc") return [file];
  const root = roots[name]!;
  if (typeof root !== "string") return root;
  // musl's loader knows /usr/lib by a file that its package would write at an installation.
  const libraries = `LD_LIBRARY_PATH=${join(root, "usr/lib")}`;
  if (name !== "x86_64-musl")
    return [pathOf("qemu-aarch64-static"), "-L", root, ...(name === "aarch64-musl" ? ["-E", libraries] : []), file];
  // Its loader is looked for at a fixed place, so the root has to be another one.
  if (process.getuid?.() !== 0) return new Error("chroot needs root");
  const inside = join(root, "aralez");
  if (!existsSync(inside)) cpSync(file, inside);
  return ["env", "LD_LIBRARY_PATH=/usr/lib", pathOf("chroot"), root, "/aralez"];
}
