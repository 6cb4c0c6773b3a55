/** Says why a file or folder cannot be read; of a permission that is missing also whose it is, who we are, and the ways out. */
import { accessSync, constants, readFileSync, statSync, type Stats } from "node:fs";
import { dirname, resolve } from "node:path";

/** What is said about a file that is not there. */
export const missingFile = "there is no such file";

const reasons: Readonly<Record<string, string>> = {
  ENOENT: missingFile,
  ENOTDIR: "a part of its path is not a folder",
  ELOOP: "its symbolic links lead in a circle",
};

/**
 * @param path that was to be read
 * @param error what the file system threw
 * @returns completes `Cannot read "FILE": `
 */
export function whyUnreadable(path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EACCES") return `permission denied${whoMayRead(path)}`;
  return reasons[code ?? ""] ?? code ?? message;
}

/** The first thing on the way that does not let us pass, and what helps. */
function whoMayRead(path: string): string {
  const found = firstBarrier(resolve(path));
  if (!found) return ", although owner and mode allow it: by SELinux or the like (in Docker: mount with :z)";
  const { at, stat, wanted } = found;
  const [uid, gid] = [process.geteuid?.() ?? -1, process.getegid?.() ?? -1];
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, "0");
  const owner = `${nameOf("passwd", stat.uid)}:${nameOf("group", stat.gid)} (${stat.uid}:${stat.gid})`;
  const rights = wanted === "pass" ? "x" : stat.isDirectory() ? "rx" : "r";
  return (
    `: "${at}" belongs to ${owner} with mode ${mode}, and this process runs as uid ${uid}, gid ${gid}. ` +
    `Let our group read it (chgrp ${gid} and chmod g+${rights}) or everybody (chmod o+${rights}), give it to us ` +
    `(chown ${uid}), or run as its owner (in Docker: --user ${stat.uid}:${stat.gid})`
  );
}

function firstBarrier(path: string): { at: string; stat: Stats; wanted: "pass" | "read" } | undefined {
  const folders: string[] = [];
  for (let at = dirname(path); !folders.includes(at); at = dirname(at)) folders.unshift(at);
  for (const at of folders) {
    const stat = refused(at, constants.X_OK);
    if (stat) return { at, stat, wanted: "pass" };
  }
  const stat = refused(path, constants.R_OK);
  return stat && { at: path, stat, wanted: "read" };
}

/** @returns what it is when we may not; undefined when we may, or cannot even tell */
function refused(path: string, right: number): Stats | undefined {
  try {
    accessSync(path, right);
    return undefined;
  } catch {
    try {
      return statSync(path);
    } catch {
      return undefined;
    }
  }
}

/** By the files of the machine; a container often has no line for the uid of a mounted file. */
function nameOf(file: "passwd" | "group", id: number): string {
  try {
    const line = readFileSync(`/etc/${file}`, "utf8")
      .split("\n")
      .find((line) => line.split(":")[2] === String(id));
    return line?.split(":")[0] ?? String(id);
  } catch {
    return String(id);
  }
}
