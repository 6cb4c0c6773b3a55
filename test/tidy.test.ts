/** The house keeps its own rules: floors, opening sentences, words, limits. What fails here names file and line. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import manifest from "../package.json" with { type: "json" };
import * as limits from "../src/lib/limits.ts";

const root = join(import.meta.dir, "..");

interface SourceFile {
  /** from the root, for example src/lib/address.ts */
  name: string;
  text: string;
}

function filesIn(folder: string): SourceFile[] {
  return [...new Bun.Glob("**/*.ts").scanSync({ cwd: join(root, folder) })]
    .sort()
    .map((name) => ({ name: `${folder}/${name}`, text: readFileSync(join(root, folder, name), "utf8") }));
}

const sources = filesIn("src");
const tests = filesIn("test");

/** `file:line: text` of every line that matches; comments are left out unless asked for. */
function linesWith(files: SourceFile[], pattern: RegExp, comments = false): string[] {
  return files.flatMap(({ name, text }) =>
    (comments ? text : withoutComments(text))
      .split("\n")
      .flatMap((line, i) => (pattern.test(line) ? [`${name}:${i + 1}: ${line.trim()}`] : [])),
  );
}

/** Keeps the line numbers. A `//` inside a string is taken for a comment only after a space, as nobody writes there. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, "")).replace(/(^|\s)\/\/.*$/gm, "$1");
}

describe("floors", () => {
  const floors = ["lib", "config", "data", "control", "process", "cli", "main"];
  const floorOf = (name: string) => floors.indexOf(/^src\/(\w+)(?:\/|\.ts$)/.exec(name)?.[1] ?? "");

  test("every source file stands on one", () => {
    expect(sources.filter(({ name }) => floorOf(name) < 0).map(({ name }) => name)).toEqual([]);
  });

  test("a file imports from its own floor or below, types included, and with the ending .ts", () => {
    const wrong: string[] = [];
    for (const { name, text } of sources) {
      for (const [, target = ""] of withoutComments(text).matchAll(
        /(?:\bfrom|\bimport|new URL)\s*\(?\s*"(\.[^"]*)"/g,
      )) {
        const imported = relative(root, join(root, dirname(name), target));
        if (!imported.startsWith("src/")) {
          // What is embedded into the program: its own version and example files.
          if (floorOf(name) < floors.indexOf("cli")) wrong.push(`${name} imports ${imported}, outside src`);
        } else if (floorOf(imported) > floorOf(name)) wrong.push(`${name} imports ${imported}, a floor above`);
        else if (!sources.some((file) => file.name === imported))
          wrong.push(`${name} imports ${imported}, which is no source file`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("src has no other folders than the floors", () => {
    const folders = readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).filter((name) => !floors.includes(name))).toEqual([]);
  });
});

describe("every source file", () => {
  test("opens with one sentence that says what it is for", () => {
    const opening = /^(?:#!.*\n)?\/\*\*\s+(?:\*\s+)?[A-Z`"][\s\S]*?[.:?][\s\S]*?\*\//;
    expect(sources.filter(({ text }) => !opening.test(text)).map(({ name }) => name)).toEqual([]);
  });

  test("is named in kebab-case, for what it holds", () => {
    const odd = sources.filter(
      ({ name }) =>
        !/^src\/(?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts$/.test(name) || /(?:utils?|helpers?|common)\.ts$/.test(name),
    );
    expect(odd.map(({ name }) => name)).toEqual([]);
  });

  test("has named exports only", () => {
    expect(linesWith(sources, /^export default\b/)).toEqual([]);
  });

  test("is finished", () => {
    expect(linesWith(sources, /\b(?:TODO|FIXME|XXX|HACK)\b|[nN]ot implemented|\b[sS]tub(?:s|bed)?\b/, true)).toEqual(
      [],
    );
  });
});

test("the hot path has no `any`", () => {
  const data = sources.filter(({ name }) => name.startsWith("src/data/"));
  expect(linesWith(data, /(?::|<|\bas|\||,|=>)\s*any\b(?!\w)|\bany\[\]/)).toEqual([]);
});

test("only the command line writes to the console: everything else goes through the log", () => {
  const below = sources.filter(({ name }) => !/^src\/(?:cli\/|cli\.ts|main\.ts)/.test(name));
  expect(linesWith(below, /\bconsole\.\w/)).toEqual([]);
});

test("every workaround names the Bun version in use and when it may go", () => {
  const wrong: string[] = [];
  for (const { name, text } of [...sources, ...tests]) {
    if (name === "test/tidy.test.ts") continue;
    for (const { index } of text.matchAll(/\bBUN\b/g)) {
      const line = text.slice(0, index).split("\n").length;
      const comment = text.slice(index).split(/\*\/|\n(?!\s*(?:\*|\/\/))/)[0]!;
      const tag = `BUN(${manifest.devDependencies.bun}): `;
      if (!comment.startsWith(tag) || !/\bremove when\b/i.test(comment.replace(/\s+(?:\*|\/\/)?\s*/g, " ")))
        wrong.push(`${name}:${line}: expected "${tag}… remove when …"`);
    }
  }
  expect(wrong).toEqual([]);
});

test("every limit is used", () => {
  const others = sources.filter(({ name }) => name !== "src/lib/limits.ts");
  const unused = Object.keys(limits).filter((limit) => {
    const word = new RegExp(`\\b${limit}\\b`);
    return !others.some(({ text }) => word.test(withoutComments(text)));
  });
  expect(unused).toEqual([]);
});

test("every limit says its reason", () => {
  const { text } = sources.find(({ name }) => name === "src/lib/limits.ts")!;
  const bare = [...text.matchAll(/^(.*)\nexport const (\w+)/gm)].filter(
    ([, above = ""]) => !/\*\/$|^export const /.test(above),
  );
  expect(bare.map(([, , name]) => name)).toEqual([]);
});

test("tests run all of themselves", () => {
  const others = tests.filter(({ name }) => name !== "test/tidy.test.ts");
  expect(linesWith(others, /\b(?:test|describe|it)\.(?:only|skip|todo)\b/)).toEqual([]);
});

test("package scripts do not hide Bun's own commands", () => {
  for (const taken of ["check", "fmt", "lint"]) expect(Object.keys(manifest.scripts)).not.toContain(taken);
});

test("Bun is pinned exactly, and its types with it", () => {
  expect(manifest.devDependencies.bun).toMatch(/^\d+\.\d+\.\d+$/);
  expect(manifest.devDependencies["@types/bun"]).toBe(manifest.devDependencies.bun);
  expect(Bun.version).toBe(manifest.devDependencies.bun);
});

test("the top level holds what it is meant to hold, and nothing else", () => {
  const meant = [
    ".ci",
    ".dockerignore",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "bench",
    "build.ts",
    "bun.lock",
    "bunfig.toml",
    "certs",
    "config",
    "package-lock.json",
    "package.json",
    "src",
    "test",
    "tsconfig.json",
  ];
  // What .gitignore names may lie about.
  const ignored = /^(?:\.git|node_modules|dist|.*\.log|.*\.tmp)$/;
  expect(
    readdirSync(root)
      .filter((name) => !ignored.test(name))
      .sort(),
  ).toEqual(meant);
});
