/** The command line itself: help, version, completion, and what is said about wrong arguments. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json" with { type: "json" };
import { verbs } from "../../src/cli.ts";
import { readArguments } from "../../src/cli/arguments.ts";
import { run, temporaryFolder } from "./program.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(30_000);

describe("version and help", () => {
  test.each([["-v"], ["--version"], ["version"]])("%s prints the name and the version, nothing else", async (word) => {
    expect(await run([word])).toEqual({ code: 0, out: `aralez ${version}\n`, err: "" });
  });

  test("version --long adds the commit and Bun's version", async () => {
    const { out } = await run(["version", "--long"]);
    expect(out).toContain(`aralez ${version}\ncommit `);
    expect(out).toContain(`Bun ${Bun.version}`);
  });

  test.each([["-h"], ["--help"], ["help"]])("%s shows every verb and flag and exits 0", async (word) => {
    const { code, out } = await run([word]);
    expect(code).toBe(0);
    for (const name of Object.keys(verbs).filter(Boolean)) expect(out).toContain(`\n  ${name}`);
    for (const flag of Object.keys(verbs[""].flags)) expect(out).toContain(`--${flag}`);
  });

  test("help of a verb is the same by `help VERB` and `VERB --help`, even where an argument is missing", async () => {
    for (const name of Object.keys(verbs).filter(Boolean)) {
      const [asked, flagged] = await Promise.all([run(["help", name]), run([name, "-h"])]);
      expect(asked.code).toBe(0);
      expect(asked.out).toStartWith(`Usage: aralez ${name}`);
      expect(flagged).toEqual(asked);
    }
  });
});

describe("wrong usage exits 2 and says on stderr", () => {
  test.each<[args: string[], message: string]>([
    [["valdate"], 'unknown verb "valdate", did you mean validate?'],
    [["help", "porxy"], 'unknown verb "porxy", did you mean proxy?'],
    [["toString"], 'unknown verb "toString"'],
    [["main.yaml"], 'unknown verb "main.yaml": to run with this file, aralez -c main.yaml'],
    [["--cnof", "x"], "unknown flag --cnof, did you mean --conf?"],
    [["validate", "--fromat", "json"], "unknown flag --fromat, did you mean --format?"],
    [["-x"], "unknown flag -x"],
    [["--to", "x"], "unknown flag --to, it belongs to `aralez proxy`"],
    [["-c"], "-c needs FILE"],
    [["-c", "-t"], '-c needs FILE, found "-t"'],
    [["-c", ""], "-c needs FILE"],
    [["--conf", "a", "--conf", "b"], "--conf is given twice"],
    [["--test=yes"], '--test takes no value, found "yes"'],
    [["-c", "a", "validate"], "the verb comes first: aralez validate …"],
    [["version", "extra"], 'unexpected argument "extra"'],
    [["validate", "--format", "jsno"], '--format: expected text or json, found "jsno", did you mean json?'],
    [["init"], "init needs DIR"],
    [["schema"], "schema needs main or upstreams, or --write DIR"],
    [["schema", "mian"], 'schema: expected main or upstreams, found "mian", did you mean main?'],
    [["completion", "fish"], 'completion: expected bash or zsh, found "fish"'],
    [["proxy"], "proxy needs --to ADDR"],
    [["proxy", "--to", ","], "proxy needs --to ADDR"],
    [["proxy", "--to", "localhost"], '--to: the port is missing: write "localhost:PORT"'],
    [["proxy", "--to", "127.0.0.1:1", "--from", "nowhere"], '--from: expected "ip:port"'],
  ])("%p", async (args, message) => {
    const { code, out, err } = await run(args);
    expect(err).toContain(`aralez: ${message}`);
    expect(err).toContain("Try: aralez help");
    expect(out).toBe("");
    expect(code).toBe(2);
  });
});

describe("spellings that the original takes", () => {
  const conf = (...args: string[]) => readArguments(args, verbs, {}).call.flags;

  test("a file follows -c, --conf, -c=, --conf=, or -c without a space", () => {
    for (const args of [["-c", "a.yaml"], ["--conf", "a.yaml"], ["-c=a.yaml"], ["--conf=a.yaml"], ["-ca.yaml"]])
      expect(conf(...args)).toEqual({ conf: "a.yaml" });
  });

  test("short flags join: -u -d -c FILE is -udc FILE", () => {
    expect(conf("-udc", "a.yaml")).toEqual({ upgrade: true, daemon: true, conf: "a.yaml" });
  });
});

test("an error of the system is one line and exit code 1", async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "file"), "");
  const { code, err } = await run(["schema", "--write", join(folder.path, "file", "below")]);
  expect(code).toBe(1);
  expect(err).toMatch(/^aralez: .*ENOTDIR.*\n$/);
});

describe("completion", () => {
  const completed = async (cwd: string, ...words: string[]) => {
    const { out } = await run(["completion", "bash"]);
    const line = words.map((word) => `'${word}'`).join(" ");
    const script = `${out}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _aralez; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = Bun.spawnSync(["bash", "-c", script], { cwd });
    expect(stderr.toString()).toBe("");
    return stdout.toString().split("\n").filter(Boolean);
  };

  test("bash completes verbs, flags, words, files and folders", async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "main.yaml"), "");
    mkdirSync(join(folder.path, "conf.d"));
    expect(await completed(folder.path, "aralez", "va")).toEqual(["validate"]);
    expect(await completed(folder.path, "aralez", "proxy", "--f")).toEqual(["--from"]);
    expect(await completed(folder.path, "aralez", "validate", "--format", "")).toEqual(["text", "json"]);
    expect(await completed(folder.path, "aralez", "schema", "u")).toEqual(["upstreams"]);
    expect(await completed(folder.path, "aralez", "-c", "ma")).toEqual(["main.yaml"]);
    expect(await completed(folder.path, "aralez", "init", "")).toContain("conf.d");
  });

  test("the script of zsh names every verb and flag", async () => {
    const { out } = await run(["completion", "zsh"]);
    expect(out).toStartWith("#compdef aralez\n");
    for (const [name, { flags }] of Object.entries(verbs)) {
      if (name) expect(out).toContain(`'${name}:`);
      for (const flag of Object.keys(flags)) expect(out).toContain(`--${flag}[`);
    }
  });
});
