/** Programs of others that are built once from Go's module proxy, and kept in the user's cache. */
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathOf } from "./programs.ts";

/**
 * @param folder below the cache's, for programs whose name says little
 * @param module with the version behind `@`; its last part names the program
 * @returns the path of the program, built if this machine has none yet. @throws when it cannot be built
 */
export async function goProgram(module: string, folder = ""): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? tmpdir(), ".cache");
  const bin = join(cache, "aralez-tests", folder);
  const name = module.slice(module.lastIndexOf("/") + 1, module.indexOf("@"));
  const path = join(bin, name);
  if (existsSync(path)) return path;
  mkdirSync(bin, { recursive: true });
  const go = Bun.spawn([pathOf("go"), "install", module], {
    env: { ...process.env, GOBIN: bin, GOFLAGS: "-mod=mod" },
    stdout: "ignore",
    stderr: "pipe",
  });
  if ((await go.exited) !== 0) throw new Error(`Cannot build ${module}: ${await new Response(go.stderr).text()}`);
  return path;
}
