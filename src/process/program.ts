/** Which words start this program once more. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";

/** @returns the executable and what stands before any argument of ours */
export function ownProgram(): readonly string[] {
  if (Bun.isStandaloneExecutable) return [executable()];
  const script = join(import.meta.dir, "../main.ts");
  return [executable(), ...(Bun.main === script ? process.execArgv : []), script];
}

/** What is being run, also when another version lies in its place by now: old and new would not understand each other. */
function executable(): string {
  const own = "/proc/self/exe";
  if (!existsSync(own)) return process.execPath;
  const [running, there] = [statSync(own), statSync(process.execPath, { throwIfNoEntry: false })];
  return there?.ino === running.ino && there.dev === running.dev ? process.execPath : own;
}

/** @returns the words that start what lies on the disk by now, called as this program was */
export function programOnDisk(): readonly string[] {
  return Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, ...process.execArgv, Bun.main];
}
