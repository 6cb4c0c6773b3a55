/** Files and folders that the proxy's user may not read or write: what it says, and where it keeps its state instead. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateFolder } from "../../src/control/certificates/folders.ts";
import { whyUnreadable } from "../../src/lib/unreadable.ts";
import { run, temporaryFolder } from "./program.ts";

setDefaultTimeout(60_000);

const rules = 'upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:8001"] } } } }\n';
const isRoot = process.getuid?.() === 0;
/** Whoever runs the tests owns the files; the program runs as somebody else where that can be had. */
const uid = isRoot ? 65_532 : process.getuid!();
const gid = isRoot ? 65_532 : process.getgid!();
const owner = `(${process.getuid!()}:${process.getgid!()})`;

/** A configuration in a folder that everybody may enter. */
function configured() {
  const folder = temporaryFolder();
  chmodSync(folder.path, 0o755);
  for (const [name, text] of [
    ["main.yaml", "log_level: info\n"],
    ["upstreams.yaml", rules],
  ] as const)
    writeFileSync(join(folder.path, name), text);
  return folder;
}

const validate = (folder: string) => run(["validate", "-c", join(folder, "main.yaml")], { uid, cwd: "/" });

describe("a file that cannot be read says so with owner, mode, our uid and the ways out", () => {
  test("main.yaml", async () => {
    using folder = configured();
    const main = join(folder.path, "main.yaml");
    chmodSync(main, 0o200);
    const { code, out, err } = await validate(folder.path);
    expect(code).toBe(1);
    const said = out + err;
    expect(said).toContain(`Cannot read "${main}": permission denied: "${main}" belongs to `);
    expect(said).toContain(`${owner} with mode 0200, and this process runs as uid ${uid}, gid ${gid}. `);
    expect(said).toContain(
      `(chgrp ${gid} and chmod g+r) or everybody (chmod o+r), give it to us (chown ${uid}), or run`,
    );
    expect(said).toContain(`--user ${owner.slice(1, -1)})`);
    const started = await run(["-c", main], { uid, cwd: "/" });
    expect(started.code).toBe(1);
    expect(started.err).toContain("with mode 0200");
  });

  test("upstreams.yaml, conf.d, and files that they name", async () => {
    using folder = configured();
    chmodSync(join(folder.path, "upstreams.yaml"), 0o040);
    expect((await validate(folder.path)).out).toContain(`${owner} with mode 0040`);
    chmodSync(join(folder.path, "upstreams.yaml"), 0o644);
    mkdirSync(join(folder.path, "conf.d"), { mode: 0o311 });
    expect((await validate(folder.path)).out).toMatch(/Cannot list ".*conf\.d": .* with mode 0311.*g\+rx/);
    chmodSync(join(folder.path, "conf.d"), 0o755);
    writeFileSync(join(folder.path, "ca.pem"), "", { mode: 0o200 });
    writeFileSync(join(folder.path, "main.yaml"), "ca_file: ca.pem\nmaster_key: {file: ca.pem}\n");
    const { out } = await validate(folder.path);
    expect(out).toMatch(/cannot read "ca\.pem": permission denied: ".*ca\.pem" belongs to .* with mode 0200/);
    expect(out).toMatch(/cannot read the secret's file "ca\.pem": permission denied: .* with mode 0200/);
  });

  test("a folder on the way is named instead of the file behind it", async () => {
    using folder = configured();
    chmodSync(folder.path, 0o600);
    const { code, out } = await validate(folder.path);
    chmodSync(folder.path, 0o755);
    expect(code).toBe(1);
    expect(out).toContain(`Cannot read "${folder.path}/main.yaml": permission denied: "${folder.path}" belongs to `);
    expect(out).toContain("chmod g+x");
  });

  test("one that may be read after all is no riddle", () => {
    using folder = configured();
    const denied = Object.assign(new Error("EACCES"), { code: "EACCES" });
    expect(whyUnreadable(join(folder.path, "main.yaml"), denied)).toContain("although owner and mode allow it");
    expect(whyUnreadable("/nowhere", Object.assign(new Error("x"), { code: "ENOENT" }))).toBe("there is no such file");
  });
});

test("a main.yaml of the default places that we may not look at is an error, not a reason for the demo", async () => {
  using folder = configured();
  const inside = join(folder.path, "inside");
  mkdirSync(inside);
  writeFileSync(join(inside, "main.yaml"), "log_level: info\n", { mode: 0o200 });
  const { code, err } = await run([], { uid, cwd: inside });
  expect(code).toBe(1);
  expect(err).toContain('Cannot read "');
  expect(err).toContain("with mode 0200");
});

describe("the state folder of ACME", () => {
  test("is in proxy_configs where that can be written, else /var/lib/aralez", async () => {
    using folder = configured();
    const configs = join(folder.path, "configs");
    mkdirSync(configs, { mode: 0o777 });
    chmodSync(configs, 0o777);
    expect(await stateOf(configs)).toBe(join(configs, "autoconfigs"));
    chmodSync(configs, 0o555);
    expect(await stateOf(configs)).toBe("/var/lib/aralez");
    // An own folder inside may be writable although the rest is not.
    mkdirSync(join(configs, "autoconfigs"), { mode: 0o777 });
    chmodSync(join(configs, "autoconfigs"), 0o777);
    expect(await stateOf(configs)).toBe(join(configs, "autoconfigs"));
    expect(statSync(join(configs, "autoconfigs")).mode & 0o777).toBe(0o777);
    expect(stateFolder({ acme: { state: "/elsewhere" }, proxy_configs: configs } as never)).toBe("/elsewhere");
  });

  /** As that user sees it. */
  async function stateOf(proxy_configs: string): Promise<string> {
    const script = `import { stateFolder } from "${import.meta.dir}/../../src/control/certificates/folders.ts";
      console.log(stateFolder({ proxy_configs: ${JSON.stringify(proxy_configs)} }));`;
    const words = [process.execPath, "-e", script];
    const as = isRoot ? ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--"] : [];
    const child = Bun.spawn([...as, ...words], { cwd: "/", stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    return (await child.stdout.text()).trim();
  }
});
