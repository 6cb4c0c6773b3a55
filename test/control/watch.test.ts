/** The watch on rule files: every way of changing a file is noticed, and nothing else is. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  readFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as limits from "../../src/lib/limits.ts";
import { watchFiles, type Watching } from "../../src/control/watch.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(30_000);

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "aralez-watch-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Inodes of all inotify watches of this process (proc_pid_fdinfo(5)). */
function watchedInodes(): number[] {
  const texts = readdirSync("/proc/self/fdinfo").map((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    } catch {
      return "";
    }
  });
  return texts.flatMap((text) =>
    [...text.matchAll(/^inotify wd:\S+ ino:(\S+)/gm)].map(([, inode]) => parseInt(inode!, 16)),
  );
}

interface Seen {
  watching: Watching;
  /** content of the rules file at each run of onChange */
  runs: string[];
  /** Resolves once `fact` holds. */
  until(fact: () => boolean): Promise<void>;
}

function watchIn(folder: string, during?: () => Promise<void> | void): Seen {
  const file = join(folder, "upstreams.yaml");
  const runs: string[] = [];
  const watching = watchFiles({
    files: () => [file],
    folders: () => [join(folder, "conf.d")],
    async onChange() {
      let text = "(missing)";
      try {
        text = readFileSync(file, "utf8");
      } catch {}
      runs.push(text);
      await during?.();
    },
  });
  cleanups.push(() => watching.stop());
  return {
    watching,
    runs,
    async until(fact) {
      const endMs = performance.now() + 20_000;
      while (!fact()) {
        if (performance.now() > endMs) throw new Error(`waited 20 s in vain; runs so far: ${JSON.stringify(runs)}`);
        await Bun.sleep(5);
      }
    },
  };
}

function folderWith(text: string): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "upstreams.yaml"), text);
  return folder;
}

describe("a change is noticed", () => {
  test("when the file is truncated and written in place", async () => {
    const folder = folderWith("one");
    const { runs, until } = watchIn(folder);
    writeFileSync(join(folder, "upstreams.yaml"), "two");
    await until(() => runs.at(-1) === "two");
    expect(runs).toEqual(["two"]);
  });

  test("when another file is renamed over it, and then written again", async () => {
    const folder = folderWith("one");
    const { runs, until } = watchIn(folder);
    for (const text of ["two", "three"]) {
      writeFileSync(join(folder, ".upstreams.yaml.swp"), text);
      renameSync(join(folder, ".upstreams.yaml.swp"), join(folder, "upstreams.yaml"));
      await until(() => runs.at(-1) === text);
    }
    writeFileSync(join(folder, "upstreams.yaml"), "four");
    await until(() => runs.at(-1) === "four");
    expect(runs).toEqual(["two", "three", "four"]);
  });

  test("when the ..data symlink of a ConfigMap is swapped, twice", async () => {
    const folder = temporaryFolder();
    const publish = (version: string) => {
      mkdirSync(join(folder, `..${version}`));
      writeFileSync(join(folder, `..${version}`, "upstreams.yaml"), version);
      symlinkSync(`..${version}`, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    publish("one");
    symlinkSync("..data/upstreams.yaml", join(folder, "upstreams.yaml"));
    const { runs, until } = watchIn(folder);
    publish("two");
    await until(() => runs.at(-1) === "two");
    rmSync(join(folder, "..one"), { recursive: true });
    publish("three");
    await until(() => runs.at(-1) === "three");
    expect(runs).toEqual(["two", "three"]);
  });

  test("when the file is a symlink and its target in another folder is written", async () => {
    const folder = temporaryFolder();
    const elsewhere = folderWith("one");
    symlinkSync(join(elsewhere, "upstreams.yaml"), join(folder, "upstreams.yaml"));
    const { runs, until } = watchIn(folder);
    writeFileSync(join(elsewhere, "upstreams.yaml"), "two");
    await until(() => runs.at(-1) === "two");
  });

  test("when the file is deleted and comes back later", async () => {
    const folder = folderWith("one");
    const { runs, until } = watchIn(folder);
    unlinkSync(join(folder, "upstreams.yaml"));
    await until(() => runs.length === 1);
    writeFileSync(join(folder, "upstreams.yaml"), "two");
    await until(() => runs.at(-1) === "two");
    expect(runs).toEqual(["(missing)", "two"]);
  });

  test("when conf.d is created, a file appears in it, changes and goes", async () => {
    const folder = folderWith("main");
    const { runs, until } = watchIn(folder);
    mkdirSync(join(folder, "conf.d"));
    writeFileSync(join(folder, "conf.d", "a.yaml"), "a");
    await until(() => runs.length === 1);
    writeFileSync(join(folder, "conf.d", "b.yaml"), "b");
    await until(() => runs.length === 2);
    writeFileSync(join(folder, "conf.d", "b.yaml"), "b again");
    await until(() => runs.length === 3);
    rmSync(join(folder, "conf.d"), { recursive: true });
    await until(() => runs.length >= 4);
  });

  test("when the whole folder is replaced by another, and in the new folder afterwards", async () => {
    const parent = temporaryFolder();
    const folder = join(parent, "aralez");
    mkdirSync(folder);
    writeFileSync(join(folder, "upstreams.yaml"), "one");
    const { runs, until } = watchIn(folder);
    mkdirSync(join(parent, "next"));
    writeFileSync(join(parent, "next", "upstreams.yaml"), "two");
    renameSync(folder, join(parent, "previous"));
    renameSync(join(parent, "next"), folder);
    await until(() => runs.at(-1) === "two");
    writeFileSync(join(folder, "upstreams.yaml"), "three");
    await until(() => runs.at(-1) === "three");
  });

  test("when the file did not exist at the start", async () => {
    const folder = temporaryFolder();
    const { runs, until } = watchIn(folder);
    writeFileSync(join(folder, "upstreams.yaml"), "first");
    await until(() => runs.at(-1) === "first");
  });
});

describe("several edits", () => {
  test("in quick succession end in one run that sees the last one", async () => {
    const folder = folderWith("0");
    const { runs, until } = watchIn(folder);
    for (let i = 1; i <= 20; i++) writeFileSync(join(folder, "upstreams.yaml"), String(i));
    await until(() => runs.at(-1) === "20");
    expect(runs).toEqual(["20"]);
  });

  test("an edit during a run causes one more run, never two at a time, and the last edit wins", async () => {
    const folder = folderWith("0");
    let inside = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    const { runs, until } = watchIn(folder, async () => {
      most = Math.max(most, ++inside);
      await gate.promise;
      inside--;
    });
    writeFileSync(join(folder, "upstreams.yaml"), "1");
    await until(() => inside === 1);
    for (const text of ["2", "3", "4"]) {
      writeFileSync(join(folder, "upstreams.yaml"), text);
      await Bun.sleep(limits.watchQuietMs * 2);
    }
    expect(runs).toEqual(["1"]);
    gate.resolve();
    await until(() => runs.at(-1) === "4");
    expect(runs).toEqual(["1", "4"]);
    expect(most).toBe(1);
  });

  test("a file that changes without end is read all the same", async () => {
    const folder = folderWith("0");
    const { runs } = watchIn(folder);
    const endMs = performance.now() + limits.watchQuietMaxMs * 20;
    for (let i = 1; runs.length === 0 && performance.now() < endMs; i++) {
      writeFileSync(join(folder, "upstreams.yaml"), String(i));
      await Bun.sleep(10);
    }
    expect(runs.length).toBeGreaterThan(0);
  });

  test("an empty moment between truncating and writing is not read as an empty file", async () => {
    const folder = folderWith("one");
    const { watching, runs } = watchIn(folder);
    writeFileSync(join(folder, "upstreams.yaml"), "");
    const looked = watching.check();
    writeFileSync(join(folder, "upstreams.yaml"), "two");
    await looked;
    expect(runs).toEqual(["two"]);
  });

  test("a file that stays empty is a change", async () => {
    const folder = folderWith("one");
    const { watching, runs } = watchIn(folder);
    writeFileSync(join(folder, "upstreams.yaml"), "");
    await watching.check();
    expect(runs).toEqual([""]);
  });
});

describe("nothing runs", () => {
  test("when the file is written with the same bytes, or a neighbour is written", async () => {
    const folder = folderWith("one");
    const { watching, runs } = watchIn(folder);
    writeFileSync(join(folder, "upstreams.yaml"), "one");
    writeFileSync(join(folder, "access.log"), "a line\n");
    writeFileSync(join(folder, "main.yaml"), "log_level: info\n");
    await watching.check();
    await Bun.sleep(limits.watchQuietMaxMs);
    await watching.check();
    expect(runs).toEqual([]);
  });

  test("for a file in conf.d that does not end in .yaml", async () => {
    const folder = folderWith("one");
    mkdirSync(join(folder, "conf.d"));
    const { watching, runs } = watchIn(folder);
    writeFileSync(join(folder, "conf.d", "a.yml"), "x");
    await watching.check();
    expect(runs).toEqual([]);
  });

  test("for whatever is written beside a watched folder: its parent is not even watched", () => {
    const folder = temporaryFolder();
    const certificates = join(folder, "certs");
    mkdirSync(certificates);
    const watching = watchFiles({ files: () => [], folders: () => [certificates], onChange() {} });
    cleanups.push(() => watching.stop());
    expect(watchedInodes()).toContain(statSync(certificates).ino);
    expect(watchedInodes()).not.toContain(statSync(folder).ino);
  });
  test("after stop, and the watch does not keep the process alive", async () => {
    const folder = folderWith("one");
    const { watching, runs } = watchIn(folder);
    watching.stop();
    writeFileSync(join(folder, "upstreams.yaml"), "two");
    await watching.check();
    expect(runs).toEqual([]);
    const program = `import { watchFiles } from ${JSON.stringify(join(import.meta.dir, "../../src/control/watch.ts"))};
      watchFiles({ files: () => [${JSON.stringify(join(folder, "upstreams.yaml"))}], folders: () => [], onChange() {} });`;
    const child = Bun.spawn([process.execPath, "-e", program], {
      stdout: "ignore",
      stderr: "inherit",
      timeout: 20_000,
    });
    expect(await child.exited).toBe(0);
  });
});

test("what onChange throws reaches the caller of check, or onError, and the watch goes on", async () => {
  const folder = folderWith("one");
  const file = join(folder, "upstreams.yaml");
  const errors: string[] = [];
  const watching = watchFiles({
    files: () => [file],
    folders: () => [],
    onChange() {
      throw new Error(readFileSync(file, "utf8"));
    },
    onError: (error) => errors.push((error as Error).message),
  });
  cleanups.push(() => watching.stop());
  writeFileSync(file, "two");
  expect(watching.check()).rejects.toThrow("two");
  await Bun.sleep(limits.watchQuietMs * 2);
  writeFileSync(file, "three");
  const endMs = performance.now() + 20_000;
  while (!errors.includes("three") && performance.now() < endMs) await Bun.sleep(5);
  expect(errors).toContain("three");
});
