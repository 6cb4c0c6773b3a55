/**
 * What other machines have and this one lacks: libc of arm64, musl's loader and a libstdc++ for it, in folders of their own.
 * Nothing is installed: apt downloads packages with a state of its own, and musl's libstdc++ is what a Python wheel brings.
 */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { done } from "./container.ts";

/** A wheel of C++ for musl carries the libstdc++ that it was built with; of those that do, this one is small. */
const wheel = "contourpy==1.4.0";

/**
 * @param folder for it, as for the others
 * @returns with /lib/ld-linux-aarch64.so.1. @throws Error when the package cannot be had
 */
export async function glibcForArm64(folder: string): Promise<string> {
  return unpacked(folder, "libc6", "arm64");
}

/** @returns with musl's loader and libstdc++. @throws Error when they cannot be had */
export async function muslFor(folder: string, arch: "amd64" | "arm64"): Promise<string> {
  return withLibstdcpp(folder, await unpacked(folder, "musl", arch), arch === "amd64" ? "x86_64" : "aarch64");
}

async function unpacked(folder: string, name: string, arch: string): Promise<string> {
  const root = join(folder, `${name}-${arch}`);
  await done("dpkg-deb", ["-x", await debianPackage(folder, "trixie", name, arch), root]);
  // Debian's base system has this link; the packages themselves do not.
  if (!existsSync(join(root, "lib"))) symlinkSync("usr/lib", join(root, "lib"));
  return root;
}

/** @returns the file */
async function debianPackage(folder: string, suite: string, name: string, arch: string): Promise<string> {
  const apt = join(folder, "apt");
  for (const made of [
    "etc/apt/apt.conf.d",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/lib/dpkg",
  ])
    mkdirSync(join(apt, made), { recursive: true });
  writeFileSync(join(apt, "var/lib/dpkg/status"), "");
  const key = "/usr/share/keyrings/debian-archive-keyring.gpg";
  writeFileSync(
    join(apt, "etc/apt/sources.list"),
    `deb [signed-by=${key}] http://deb.debian.org/debian ${suite} main\n`,
  );
  const options = {
    Dir: apt,
    "Dir::State::status": join(apt, "var/lib/dpkg/status"),
    "APT::Architecture": "amd64",
    "APT::Architectures": "amd64,arm64",
    "APT::Sandbox::User": "root",
  };
  const given = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const lists = join(apt, "var/lib/apt/lists");
  if (readdirSync(lists).length < 2) await done("apt-get", [...given, "-qq", "update"]);
  await done("apt-get", [...given, "-qq", "download", `${name}:${arch}`], apt);
  return join(
    apt,
    readdirSync(apt).find((file) => file.startsWith(`${name}_`) && file.endsWith(`_${arch}.deb`))!,
  );
}

/** @returns the root, with libstdc++ in its /usr/lib */
async function withLibstdcpp(folder: string, root: string, machine: string): Promise<string> {
  const at = join(folder, `wheel-${machine}`);
  const which = [
    "--platform",
    `musllinux_1_2_${machine}`,
    "--python-version",
    "3.12",
    "--only-binary=:all:",
    "--ignore-requires-python",
  ];
  await done("pip", ["install", "--quiet", "--no-deps", ...which, "--target", at, wheel]);
  const libraries = join(at, "contourpy.libs");
  for (const name of readdirSync(libraries)) {
    // It was given a name of its own, for Python's sake.
    const called = name.startsWith("libstdc++") ? "libstdc++.so.6" : name;
    await Bun.write(join(root, "usr/lib", called), Bun.file(join(libraries, name)));
  }
  return root;
}
