/** A port that cannot be had: the message names who has it, or what it takes. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cannotListen, refuseSecondCopy } from "../../src/lib/cannot-listen.ts";
import { portOwner } from "../../src/lib/port-owner.ts";
import { freePort, program, run, temporaryFolder } from "../cli/program.ts";
import { noNameSpace } from "../support/name-space.ts";
import { startService } from "../support/service.ts";

setDefaultTimeout(60_000);

const rules = 'upstreams: { DEFAULT: { paths: { "/": { redirect_to: "https://x.test" } } } }\n';

describe("who listens", () => {
  test("is found for its own address and for all addresses, and for no other one", () => {
    using one = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    expect(portOwner("127.0.0.1", one.port)).toMatchObject({ pid: process.pid });
    expect(portOwner("0.0.0.0", one.port)).toMatchObject({ pid: process.pid });
    expect(portOwner("127.0.0.2", one.port)).toBeUndefined();
    expect(portOwner("127.0.0.1", freePort())).toBeUndefined();
    using all = Bun.listen({ hostname: "::", port: 0, socket: { data() {} } });
    expect(portOwner("127.0.0.1", all.port)).toMatchObject({ pid: process.pid });
  });

  test("is refused even where the port is shared with SO_REUSEPORT", () => {
    using shared = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: true,
      socket: { data() {} },
    } as Bun.TCPSocketListenOptions<undefined>);
    expect(() => refuseSecondCopy({ hostname: "127.0.0.1", port: shared.port })).toThrow();
    expect(() => refuseSecondCopy({ hostname: "127.0.0.1", port: freePort() })).not.toThrow();
  });
});

test("a second copy is refused on the same port, with the first one's number, and the first one goes on", async () => {
  await using service = await startService(rules);
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "main.yaml"), `proxy_address_http: 127.0.0.1:${service.port}\n`);
  writeFileSync(join(folder.path, "upstreams.yaml"), rules);
  for (const more of [[], ["--upgrade"]]) {
    const { code, err } = await run([...more, "-c", "main.yaml"], { cwd: folder.path });
    expect(err).toContain(`Cannot listen on 127.0.0.1:${service.port}: address already in use by `);
    expect(err).toContain(`(pid ${service.first.pid})`);
    expect(code).toBe(1);
  }
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      fetch(`http://127.0.0.1:${service.port}/`, { redirect: "manual", keepalive: false }),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(301));
});

describe("a port below 1024", () => {
  test("without the right: the three ways out", () => {
    const text = cannotListen({ hostname: "0.0.0.0", port: 80 }, Object.assign(new Error("x"), { code: "EACCES" }));
    expect(text).toStartWith("Cannot listen on 0.0.0.0:80: permission denied: ");
    for (const way of ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "runuser and rungroup", "from 1024 up"])
      expect(text).toContain(way);
    expect(cannotListen({ hostname: "0.0.0.0", port: 8080 }, Object.assign(new Error("x"), { code: "EACCES" }))).toBe(
      "Cannot listen on 0.0.0.0:8080: permission denied",
    );
  });

  test("the program says so as an ordinary user", async () => {
    const why = noNameSpace();
    if (why !== undefined) return console.log(`not run: ${why}`);
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "main.yaml"), "proxy_address_http: 0.0.0.0:80\n");
    writeFileSync(join(folder.path, "upstreams.yaml"), rules);
    Bun.spawnSync(["chmod", "-R", "a+rX", folder.path]);
    const user = ["unshare", "-n", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    const child = Bun.spawn([...user, ...program, "-c", "main.yaml"], {
      cwd: folder.path,
      stdout: "ignore",
      stderr: "pipe",
    });
    const [err, code] = await Promise.all([child.stderr.text(), child.exited]);
    expect(err).toContain("Cannot listen on 0.0.0.0:80: permission denied: ");
    expect(err).toContain("AmbientCapabilities=CAP_NET_BIND_SERVICE");
    expect(code).toBe(1);
  });
});
