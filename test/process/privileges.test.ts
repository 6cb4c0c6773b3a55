/** Started as root with `runuser` and `rungroup`: ends as exactly those two, with one right of root. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findAccount } from "../../src/process/accounts.ts";
import { capabilitiesOf } from "../../src/process/capabilities.ts";
import { accountWanted } from "../../src/process/privileges.ts";
import { program, run, temporaryFolder } from "../cli/program.ts";
import { NameSpace, noNameSpace, noOtherUser } from "../support/name-space.ts";
import { until } from "../support/proxy.ts";
import { childrenOf, isAlive } from "../support/service.ts";
import { selfSigned, type Pem } from "../support/tls.ts";

setDefaultTimeout(120_000);

const isRoot = process.getuid?.() === 0;
/** CAP_NET_BIND_SERVICE */
const bindOnly = 1n << 10n;
// Different numbers, or a program that swaps them would pass.
const [user, group] = ["nobody", "daemon"] as const;
const account = findAccount(user, group);

/** A folder that another user may read, in one that root alone may write. */
function openFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "aralez-privileges-"));
  chmodSync(path, 0o755);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function idsOf(pid: number) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const line = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)![1]!.trim();
  return { uid: line("Uid"), gid: line("Gid"), groups: line("Groups"), noNewPrivs: line("NoNewPrivs") };
}

describe("users and groups", () => {
  test("are found by name and by number", () => {
    expect(findAccount("root", "root")).toEqual({ user: "root", group: "root", uid: 0, gid: 0 });
    expect(findAccount("12345", "54321")).toMatchObject({ uid: 12345, gid: 54321 });
    expect(account.uid).not.toBe(account.gid);
  });
  test("a group called as the user, which is none, is the user's own", () => {
    // Debian's nobody has the group nogroup.
    const { gid } = findAccount("nobody", "nobody");
    expect(gid).toBe(Number(/^nobody:[^:]*:\d+:(\d+)/m.exec(readFileSync("/etc/passwd", "utf8"))![1]));
  });
  test("that do not exist are named", () => {
    expect(() => findAccount("no-such-user", "daemon")).toThrow('user "no-such-user" (runuser): there is no such user');
    expect(() => findAccount("nobody", "no-such-group")).toThrow('group "no-such-group" (rungroup): there is no such');
    expect(() => findAccount("4294967295", "daemon")).toThrow("there is no such user");
  });
  test("nobody is to be become without the keys", () => {
    expect(accountWanted(undefined, undefined)).toBeUndefined();
  });
});

test("[B15] an ordinary user cannot become another one: an error, not a proxy that runs as the wrong one", async () => {
  const why = noOtherUser();
  if (why !== undefined) return console.log(`not run: ${why}`);
  using folder = openFolder();
  const main = (runuser: string, rungroup: string) =>
    writeFileSync(
      join(folder.path, "main.yaml"),
      `proxy_address_http: 127.0.0.1:1\nrunuser: ${runuser}\nrungroup: ${rungroup}\n`,
    );
  writeFileSync(join(folder.path, "upstreams.yaml"), "upstreams: {}\n");
  const as = async (...ids: number[]) => {
    const words = ["setpriv", "--reuid", `${ids[0]}`, "--regid", `${ids[1]}`, "--clear-groups", ...program];
    const child = Bun.spawn([...words, "-c", "main.yaml"], { cwd: folder.path, stdout: "ignore", stderr: "pipe" });
    const [err, code] = await Promise.all([child.stderr.text(), child.exited]);
    return { err, code };
  };
  main("root", "root");
  const refused = await as(account.uid, account.gid);
  expect(refused.err).toContain(`Cannot become user "root" and group "root" (runuser, rungroup): this takes root`);
  expect(refused.err).toContain(`uid ${account.uid}, gid ${account.gid}`);
  expect(refused.code).toBe(1);
  main(user, group);
  expect((await as(account.uid, account.gid + 1)).err).toContain("Cannot become");
  // Who is that user already goes on, to the next obstacle.
  expect((await as(account.uid, account.gid)).err).not.toContain("Cannot become");
});

for (const threads of [1, 2]) {
  test(`as root, with threads: ${threads}: ports 80 and 443, the right user and group, one right, and certificates that change afterwards [28]`, async () => {
    const why = noNameSpace();
    if (why !== undefined) return console.log(`not run: ${why}`);
    using folder = openFolder();
    const { path } = folder;
    // The state and the logs may be written, the configuration is root's.
    mkdirSync(join(path, "certificates"));
    const put = ({ cert, key }: Pem) => {
      for (const [end, text] of [
        ["key", key],
        ["crt", cert],
      ] as const) {
        writeFileSync(join(path, `new.${end}`), text);
        renameSync(join(path, `new.${end}`), join(path, `certificates/a.${end}`));
      }
    };
    const pairs = [selfSigned("a.test"), selfSigned("a.test")];
    put(pairs[0]!);
    writeFileSync(
      join(path, "main.yaml"),
      `threads: ${threads}\nproxy_address_http: 0.0.0.0:80\nproxy_address_tls: 0.0.0.0:443\nproxy_configs: ${path}\nrunuser: ${user}\nrungroup: ${group}\nlog_file: ${path}/log\nerror_log: ${path}/errors\npid_file: ${path}/pid\nacme: {directory: "https://127.0.0.1:9/", domains: []}\n`,
    );
    writeFileSync(
      join(path, "upstreams.yaml"),
      'upstreams: { a.test: { paths: { "/": { redirect_to: "https://x.test" } } } }\n',
    );
    await using space = await NameSpace.open();
    const child = space.start(["-c", join(path, "main.yaml")]);
    const log = () => (existsSync(join(path, "log")) ? readFileSync(join(path, "log"), "utf8") : "");
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`it ended: ${await child.stderr.text()}`);
      return / in force: /.test(log());
    }, "the rules in force");
    const { pid } = child;
    const { uid, gid } = account;
    expect(idsOf(pid)).toEqual({
      uid: Array(4).fill(uid).join("\t"),
      gid: Array(4).fill(gid).join("\t"),
      groups: "",
      noNewPrivs: "1",
    });
    expect(capabilitiesOf(pid)).toEqual({
      permitted: bindOnly,
      effective: bindOnly,
      bounding: bindOnly,
      ambient: bindOnly,
    });
    for (const name of ["log", "errors", "pid", "autoconfigs"])
      expect([name, lstatSync(join(path, name)).uid, lstatSync(join(path, name)).gid]).toEqual([name, uid, gid]);
    expect(log()).toContain(`running as ${user}:${group} (uid ${uid}, gid ${gid})`);

    const ask = async (url: string) =>
      (
        await space.run(
          "curl",
          "-sk",
          "-o",
          "/dev/null",
          "-w",
          "%{http_code}",
          "--resolve",
          "a.test:443:127.0.0.1",
          "-H",
          "Host: a.test",
          url,
        )
      ).out;
    expect(await ask("http://127.0.0.1/")).toBe("301");
    expect(await ask("https://a.test/")).toBe("301");
    const shown = async () => {
      const { out } = await space.run(
        "sh",
        "-c",
        "openssl s_client -connect 127.0.0.1:443 -servername a.test </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256",
      );
      return out.trim();
    };
    const before = await shown();
    expect(before).toContain("Fingerprint");
    put(pairs[1]!);
    await until(async () => (await shown()) !== before, "the new certificate");

    // A worker that is replaced opens both ports again, as that user.
    if (threads > 1) {
      const workers = childrenOf(pid);
      process.kill(workers[0]!, "SIGKILL");
      const fresh = await until(() => childrenOf(pid).find((child) => !workers.includes(child)), "another worker");
      process.kill(workers[1]!, "SIGKILL");
      for (const url of ["http://127.0.0.1/", "https://a.test/"])
        await until(async () => (await ask(url)) === "301", `an answer of new workers only to ${url}`);
      expect(idsOf(fresh)).toMatchObject({
        uid: Array(4).fill(uid).join("\t"),
        gid: Array(4).fill(gid).join("\t"),
        groups: "",
      });
      expect(capabilitiesOf(fresh).effective).toBe(bindOnly);
    }

    // A successor opens both ports again, with nothing but that right.
    process.kill(pid, "SIGUSR2");
    const next = await until(
      () => {
        const now = Number(readFileSync(join(path, "pid"), "utf8"));
        return now !== pid && isAlive(now) && now;
      },
      "the successor in the pid file",
      60,
    );
    expect(idsOf(next)).toMatchObject({
      uid: Array(4).fill(uid).join("\t"),
      gid: Array(4).fill(gid).join("\t"),
      groups: "",
    });
    expect(capabilitiesOf(next)).toEqual({
      permitted: bindOnly,
      effective: bindOnly,
      bounding: bindOnly,
      ambient: bindOnly,
    });
    await child.exited;
    expect(await ask("http://127.0.0.1/")).toBe("301");
    expect(await ask("https://a.test/")).toBe("301");
    process.kill(next, "SIGTERM");
    await until(() => !isAlive(next), "the end of the successor");
  });
}

describe("root opens for the user", () => {
  test("no log through a symlink, which could be any file", async () => {
    if (!isRoot) return console.log("not run: it takes root");
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "precious"), "keep me");
    symlinkSync(join(folder.path, "precious"), join(folder.path, "log"));
    writeFileSync(
      join(folder.path, "main.yaml"),
      `proxy_address_http: 127.0.0.1:1\nrunuser: ${user}\nrungroup: ${group}\nlog_file: log\n`,
    );
    writeFileSync(join(folder.path, "upstreams.yaml"), "upstreams: {}\n");
    const { code, err } = await run(["-c", "main.yaml"], { cwd: folder.path });
    expect(err).toContain(`Cannot open "${folder.path}/log" (log_file) for user ${account.uid}: it is a symlink`);
    expect(code).toBe(1);
    expect(lstatSync(join(folder.path, "precious")).uid).toBe(0);
  });
});
