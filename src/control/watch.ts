/**
 * Notices that watched files have changed, however they were changed: written in place, replaced by a rename, or
 * swapped through a symlink of a folder above them (Kubernetes' `..data`).
 */
import { lstatSync, readFileSync, readlinkSync, statSync, watch, type FSWatcher } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { listYamlFiles } from "../config/read-text.ts";
import * as limits from "../lib/limits.ts";

export interface WatchOptions {
  /** the files to watch; asked anew at every look, none need exist yet */
  files(): string[];
  /** folders whose files are watched; asked anew at every look, none need exist yet */
  folders(): string[];
  /** the files of one of the folders that are watched, with their path; by default its `*.yaml` files */
  members?(folder: string): string[];
  /** whether events of a file of this name in one of the folders matter; by default all do */
  concerns?(name: string): boolean;
  /** `onChange` compares for itself, and may run without a change: hashing thousands of files here would block the loop */
  unhashed?: boolean;
  /** Runs after the content has changed, never twice at a time. What it throws goes to `onError`. */
  onChange(): void | Promise<void>;
  /** gets what `onChange` threw on a change found by the watch itself; without it the error is an unhandled rejection */
  onError?(error: unknown): void;
}

export interface Watching {
  /** Looks now. Resolves when the look, and a run of `onChange` that it caused, are over; rejects as `onChange` did. */
  check(): Promise<void>;
  /** Ends the watch; a run of `onChange` under way goes on to its end. */
  stop(): void;
}

/**
 * Starts watching. The content of this moment counts as known, so start the watch *before* reading the files for
 * the first time: an edit between the two is then noticed.
 *
 * Events only tell when to look: whether anything changed is decided by names and bytes. A slow poll finds what
 * events miss (network file systems, a folder replaced as a whole, no inotify watches left).
 */
export function watchFiles(options: WatchOptions): Watching {
  let stopped = false;
  let running: Promise<void> | undefined;
  let again = false;
  let quiet: NodeJS.Timeout | undefined;
  let firstEventMs = 0;
  const watchers = new Map<string, Watcher>();

  async function look(): Promise<void> {
    let failure: { error: unknown } | undefined;
    do {
      again = false;
      // In this order an edit in between is found by the next event or poll, never taken for known.
      stats = statistics(options);
      follow(watchers, options, touched);
      const found = options.unhashed ? known : await hashAtRest(options);
      if (stopped) return;
      if (found === known && !options.unhashed) continue;
      known = found;
      try {
        await options.onChange();
        failure = undefined;
      } catch (error) {
        failure = { error };
      }
    } while (again && !stopped);
    if (failure) throw failure.error;
  }

  function check(): Promise<void> {
    if (stopped) return Promise.resolve();
    if (running) again = true;
    running ??= look().finally(() => (running = undefined));
    return running;
  }

  function checkUnasked(): void {
    const { onError } = options;
    void (onError ? check().catch(onError) : check());
  }

  function touched(): void {
    const now = performance.now();
    if (quiet) clearTimeout(quiet);
    else firstEventMs = now;
    const waitMs = Math.min(limits.watchQuietMs, firstEventMs + limits.watchQuietMaxMs - now);
    quiet = setTimeout(
      () => {
        quiet = undefined;
        checkUnasked();
      },
      Math.max(0, waitMs),
    ).unref();
  }

  let stats = statistics(options);
  follow(watchers, options, touched);
  let known = options.unhashed ? "" : content(options).hash;
  const poll = setInterval(() => {
    if (statistics(options) !== stats) touched();
  }, limits.watchPollMs).unref();
  const folderPoll = setInterval(() => {
    if (replaced(watchers, options)) touched();
  }, limits.watchFolderPollMs).unref();

  return {
    check,
    stop() {
      stopped = true;
      clearInterval(poll);
      clearInterval(folderPoll);
      clearTimeout(quiet);
      for (const { handle } of watchers.values()) handle?.close();
      watchers.clear();
    },
  };
}

type Watched = Pick<WatchOptions, "files" | "folders" | "members" | "concerns">;

/** Names and bytes of everything watched, as one hash; `empty` when a file of {@link Watched.files} has no bytes. */
function content(watched: Watched): { hash: string; empty: boolean } {
  const hasher = new Bun.CryptoHasher("sha256");
  let empty = false;
  const files = watched.files();
  for (const file of [...files, ...membersOf(watched)]) {
    let bytes: Buffer | undefined;
    try {
      // A larger file is refused by the loader; its size is enough to notice that it was mended. Reading what is no
      // file, a FIFO for one, may never end.
      const stat = statSync(file);
      const { size, mtimeMs } = stat;
      const read = stat.isFile() && size <= limits.configBytesMax;
      bytes = read ? readFileSync(file) : Buffer.from(`${size} ${mtimeMs}`);
    } catch {}
    if (!bytes?.length && files.includes(file)) empty = true;
    hasher.update(`${file}\0${bytes ? bytes.length : "missing"}\0`);
    if (bytes) hasher.update(bytes);
  }
  return { hash: hasher.digest("hex"), empty };
}

/** The hash once the files are at rest: an editor may be between truncating (or removing) a file and writing it. */
async function hashAtRest(watched: Watched): Promise<string> {
  let found = content(watched);
  for (let retry = 0; found.empty && retry < limits.emptyReadRetries; retry++) {
    await Bun.sleep(limits.emptyReadRetryMs);
    found = content(watched);
  }
  return found.hash;
}

/** What the poll compares, without reading a byte. */
function statistics(watched: Watched): string {
  const lines: string[] = [];
  for (const path of [...watched.files(), ...watched.folders(), ...membersOf(watched)]) {
    try {
      const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
      lines.push(`${path} ${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`);
    } catch {
      lines.push(`${path} missing`);
    }
  }
  return lines.join("\n");
}

/** The files of the folders: the very ones that the loader reads. */
function membersOf({ folders, members = yamlFilesIn }: Watched): string[] {
  return folders().flatMap(members);
}

function yamlFilesIn(folder: string): string[] {
  const files = listYamlFiles(folder);
  return Array.isArray(files) ? files : [];
}

interface Watcher {
  /** undefined: the system refused the watch (limit of inotify watches), the poll must do */
  handle: FSWatcher | undefined;
  /** device and inode: a watch stays with the folder it was opened on when that is moved away */
  identity: string;
  /** entries whose events matter (a log file beside the rules must not cause a look per line) */
  names: Set<string>;
  /** beside these names */
  concerns: ((name: string) => boolean) | undefined;
}

/** Opens and closes folder watches until they match what should be watched now. */
function follow(watchers: Map<string, Watcher>, watched: Watched, touched: () => void): void {
  const wanted = placesOf(watched);
  for (const [folder, watcher] of watchers) {
    if (wanted.has(folder) && identityOf(folder) === watcher.identity) continue;
    watcher.handle?.close();
    watchers.delete(folder);
  }
  for (const [folder, { names, concerns }] of wanted) {
    const open = watchers.get(folder);
    if (open) {
      Object.assign(open, { names, concerns });
      continue;
    }
    const identity = identityOf(folder);
    if (identity === undefined) continue;
    const watcher: Watcher = { handle: undefined, identity, names, concerns };
    watchers.set(folder, watcher);
    try {
      watcher.handle = watch(folder, { persistent: false }, (_event, name) => {
        if (name === null || watcher.names.has(name) || watcher.concerns?.(name)) touched();
      });
      watcher.handle.on("error", () => watcher.handle?.close());
    } catch {}
  }
}

/**
 * Whether a folder has come, gone or been replaced as a whole. The parent of a folder of {@link Watched.folders} is not
 * watched for that: every write to any file there would be an event, and folders of certificates stand beside logs and data.
 */
function replaced(watchers: ReadonlyMap<string, Watcher>, { folders }: Watched): boolean {
  for (const [folder, { identity }] of watchers) if (identityOf(folder) !== identity) return true;
  const links: Links = new Map();
  return folders().some((folder) => {
    const last = trailOf(folder, links).at(-1);
    return last !== undefined && !watchers.has(last) && identityOf(last) !== undefined;
  });
}

function identityOf(folder: string): string | undefined {
  try {
    const { dev, ino } = statSync(folder);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

type Place = Pick<Watcher, "names" | "concerns">;

/** Folders to watch → entries in them that matter, over every symlink on the way to each file. */
function placesOf(watched: Watched): Map<string, Place> {
  const places = new Map<string, Place>();
  const links: Links = new Map();
  const folderSteps = watched.folders().flatMap((folder) => trailOf(folder, links).slice(0, -1));
  const fileSteps = [...watched.files(), ...membersOf(watched)].flatMap((path) => trailOf(path, links));
  for (const step of [...folderSteps, ...fileSteps]) {
    const folder = dirname(step);
    if (!places.has(folder)) places.set(folder, { names: new Set(), concerns: undefined });
    places.get(folder)?.names.add(step.slice(folder === "/" ? 1 : folder.length + 1));
  }
  for (const folder of watched.folders()) {
    const last = trailOf(folder, links).at(-1);
    if (last === undefined) continue;
    const names = places.get(last)?.names ?? new Set();
    places.set(last, { names, concerns: watched.concerns ?? (() => true) });
  }
  return places;
}

/** As the kernel's own bound on symlinks in one path. */
const symlinksMax = 40;

/** What was found out about paths during one look: files of one folder share all of their way but the last step. */
type Links = Map<string, string | undefined>;

/** @returns every symlink met on the way to `path`, then where it ends, all by their real folders. */
function trailOf(path: string, links: Links): string[] {
  const trail: string[] = [];
  let rest = resolve(path).split("/").filter(Boolean);
  let real = "/";
  for (let followed = 0; rest.length > 0;) {
    const [name = "", ...after] = rest;
    const step = join(real, name);
    if (!links.has(step)) links.set(step, linkAt(step));
    const target = links.get(step);
    if (target === undefined || ++followed > symlinksMax) {
      real = step;
      rest = after;
    } else {
      trail.push(step);
      rest = [...resolve(real, target).split("/").filter(Boolean), ...after];
      real = "/";
    }
  }
  return [...trail, real];
}

function linkAt(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined;
  }
}
