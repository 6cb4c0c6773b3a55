/** The program as it runs: the demo, a configuration, the verb proxy, signals, and what it survives. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { freePort, origin, run, Started, temporaryFolder } from "./program.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(30_000);

const text = async (url: string, init?: RequestInit) => (await fetch(url, init)).text();

/** A folder with a main.yaml on a free port, and rules for one server. @returns the proxy's address */
function configure(folder: string, port: number | undefined, main = ""): string {
  const address = `127.0.0.1:${freePort()}`;
  writeFileSync(join(folder, "main.yaml"), `proxy_address_http: "${address}"\n${main}`);
  writeFileSync(join(folder, "upstreams.yaml"), rulesFor(port));
  return `http://${address}`;
}

function rulesFor(port: number | undefined): string {
  return `provider: file\nupstreams:\n  DEFAULT:\n    paths:\n      "/":\n        healthcheck: false\n        servers: ["127.0.0.1:${port}"]\n`;
}

/** Waits until something answers there. */
async function answering(program: Started, url: string): Promise<void> {
  await program.until(`an answer of ${url}`, () =>
    fetch(url).then(
      () => true,
      () => false,
    ),
  );
}

describe("without any configuration, the demo", () => {
  test("prints its address first, and both upstreams answer through it", async () => {
    using folder = temporaryFolder();
    await using demo = new Started([], { cwd: folder.path });
    const url = await demo.url();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(demo.out).toStartWith(`${url}\n`);
    expect(demo.out).toContain(`curl -i ${url}/`);
    const answers = await Promise.all([
      text(`${url}/a?b=c`),
      text(`${url}/a?b=c`),
      text(`${url}/a?b=c`),
      text(`${url}/a?b=c`),
    ]);
    for (const name of ["alder", "birch"])
      expect(answers.filter((answer) => answer.startsWith(`Hello from ${name}!`))).toHaveLength(2);
    expect(answers[0]).toContain("GET /a?b=c");
    expect(answers[0]).toContain("x-forwarded-for: 127.0.0.1");
  });

  test("echoes on a WebSocket and tells the time as server-sent events", async () => {
    using folder = temporaryFolder();
    await using demo = new Started([], { cwd: folder.path });
    const url = await demo.url();
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws`);
    const messages: string[] = [];
    socket.onmessage = ({ data }) => {
      messages.push(String(data));
      if (messages.length === 1) socket.send("ping pong");
    };
    await demo.until("an echo", () => messages.includes("ping pong"));
    socket.close();
    const events = await fetch(`${url}/events`);
    expect(events.headers.get("content-type")).toStartWith("text/event-stream");
    const reader = events.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toMatch(/^data: (alder|birch) \d{4}-/);
    await reader.cancel();
  });

  test("takes another port when 8080 is taken", async () => {
    using folder = temporaryFolder();
    const other = createServer();
    // Taken by us or by somebody else: both is the case that is meant.
    await new Promise<void>((resolve) => {
      other.once("error", () => resolve());
      other.listen(8080, "127.0.0.1", resolve);
    });
    await using demo = new Started([], { cwd: folder.path });
    const url = await demo.url();
    other.close();
    expect(url).not.toBe("http://127.0.0.1:8080");
    expect(await text(`${url}/`)).toStartWith("Hello from ");
  });
});

describe("with a configuration", () => {
  test("proxies, and stops with exit code 0 on SIGTERM, SIGINT and SIGQUIT", async () => {
    using server = origin("one");
    using folder = temporaryFolder();
    const url = configure(folder.path, server.port);
    for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
      await using program = new Started(["-c", join(folder.path, "main.yaml")]);
      await answering(program, url);
      expect(await text(`${url}/x`)).toBe("one /x");
      program.kill(signal);
      expect(await program.ended()).toBe(0);
    }
  });

  test("an edit of upstreams.yaml is in force at once, a bad one changes nothing", async () => {
    using one = origin("one");
    using two = origin("two");
    using folder = temporaryFolder();
    const url = configure(folder.path, one.port);
    await using program = new Started([], { cwd: folder.path });
    await answering(program, url);
    expect(await text(url)).toBe("one /");
    writeFileSync(join(folder.path, "upstreams.yaml"), rulesFor(one.port).replace("servers", "serverz"));
    await program.until("the refusal", () => program.out.includes("serverz"));
    expect(await text(url)).toBe("one /");
    writeFileSync(join(folder.path, "upstreams.yaml"), rulesFor(two.port));
    await program.until("the new server", async () => (await text(url)) === "two /");
  });

  test("SIGHUP reads main.yaml again, SIGUSR1 reopens the log file", async () => {
    using server = origin("one");
    using folder = temporaryFolder();
    const log = join(folder.path, "aralez.log");
    const url = configure(folder.path, server.port, `log_file: ${log}\n`);
    await using program = new Started([], { cwd: folder.path });
    const logged = () => {
      try {
        return readFileSync(log, "utf8");
      } catch {
        return "";
      }
    };
    await answering(program, url);
    appendFileSync(join(folder.path, "main.yaml"), "access_log: all\n");
    program.kill("SIGHUP");
    await program.until(
      "an access line",
      async () => (await text(`${url}/after-hup`)) && logged().includes("/after-hup"),
    );
    renameSync(log, `${log}.1`);
    program.kill("SIGUSR1");
    await program.until(
      "a line in the new file",
      async () => (await text(`${url}/after-usr1`)) && logged().includes("/after-usr1"),
    );
  });

  test("a second signal ends it at once, while a request is still open", async () => {
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      fetch: () => new Promise<Response>(() => {}),
    });
    using folder = temporaryFolder();
    const url = configure(folder.path, server.port, "log_level: info\n");
    await using program = new Started([], { cwd: folder.path });
    await program.until("the summary", () => program.out.includes("in force"));
    const cut = text(url).catch(() => "cut");
    await program.until("the request", () => server.pendingRequests > 0);
    program.kill("SIGTERM");
    await program.until("the drain", () => program.out.includes("stopping"));
    expect(program.exitCode).toBe(null);
    program.kill("SIGTERM");
    expect(await program.ended()).toBe(128 + 15);
    expect(await cut).toBe("cut");
  });

  test("that has errors it does not start: they go to stderr, exit code 1", async () => {
    using folder = temporaryFolder();
    configure(folder.path, 1, "log_levle: info\n");
    const main = await run([], { cwd: folder.path });
    expect(main.err).toContain("did you mean `log_level`");
    expect({ code: main.code, out: main.out }).toEqual({ code: 1, out: "" });
    configure(folder.path, 1);
    writeFileSync(join(folder.path, "upstreams.yaml"), rulesFor(1).replace("servers", "serverz"));
    const rules = await run([], { cwd: folder.path });
    expect(rules.err).toContain("serverz");
    expect(rules.code).toBe(1);
    const missing = await run(["-c", "nowhere.yaml"], { cwd: folder.path });
    expect(missing.err).toContain("there is no such file");
    expect(missing.code).toBe(1);
  });

  test("a port that is taken is an error with the address and the cause, exit code 1", async () => {
    using server = origin("one");
    using folder = temporaryFolder();
    configure(folder.path, server.port);
    writeFileSync(join(folder.path, "main.yaml"), `proxy_address_http: "127.0.0.1:${server.port}"\n`);
    const { code, err } = await run([], { cwd: folder.path });
    expect(err).toContain(`Cannot listen on 127.0.0.1:${server.port}`);
    expect(code).toBe(1);
  });
});

describe("the verb proxy", () => {
  test("forwards in turn, without any file", async () => {
    using one = origin("one");
    using two = origin("two");
    using folder = temporaryFolder();
    const args = [
      "proxy",
      "--from",
      `127.0.0.1:${freePort()}`,
      "--to",
      `127.0.0.1:${one.port}`,
      "--to",
      `:${two.port}`,
    ];
    await using program = new Started([...args, "--access-log"], { cwd: folder.path });
    const url = await program.url();
    const answers = [await text(`${url}/a`), await text(`${url}/a`)];
    expect(answers.sort()).toEqual(["one /a", "two /a"]);
    await program.until("the access lines", () => program.out.split("GET /a").length > 2);
    program.kill("SIGTERM");
    expect(await program.ended()).toBe(0);
  });
});

describe("the limit of 256 upstream requests", () => {
  const environmentOf = (pid: number) => readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");

  test("is lifted at start, in the same process", async () => {
    using folder = temporaryFolder();
    await using demo = new Started([], { cwd: folder.path });
    await demo.url();
    expect(environmentOf(demo.pid)).toContain("BUN_CONFIG_MAX_HTTP_REQUESTS=65336");
    demo.kill("SIGTERM");
    expect(await demo.ended()).toBe(0);
  });

  test("stays as the user has set it", async () => {
    using folder = temporaryFolder();
    await using demo = new Started([], { cwd: folder.path, env: { BUN_CONFIG_MAX_HTTP_REQUESTS: "1000" } });
    await demo.url();
    expect(environmentOf(demo.pid)).toContain("BUN_CONFIG_MAX_HTTP_REQUESTS=1000");
  });
});

test("a fault that nobody caught is told once, and the proxy goes on", async () => {
  using folder = temporaryFolder();
  const preload = join(folder.path, "faults.ts");
  writeFileSync(
    preload,
    `let n = 0;
     setInterval(() => { n++; if (n % 2) throw new Error("thrown fault"); void Promise.reject(new Error("rejected fault")); }, 10);
     setInterval(() => { if (n > 20) console.error("many faults later"); }, 10);`,
  );
  await using demo = new Started([], { cwd: folder.path, env: { BUN_OPTIONS: `--preload=${preload}` } });
  const url = await demo.url();
  await demo.until("many faults", () => demo.err.includes("many faults later"));
  for (const fault of ["thrown fault", "rejected fault"]) {
    await demo.until(fault, () => (demo.out + demo.err).includes(`Error: ${fault}`));
    expect((demo.out + demo.err).match(new RegExp(`not shown again.*Error: ${fault}`, "g"))).toHaveLength(1);
  }
  expect(await text(url)).toStartWith("Hello from ");
});
