/** Workers: several processes on the same ports, which look like one. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { freePort, run, Started, temporaryFolder } from "../cli/program.ts";
import { startClient } from "../support/ask.ts";
import { echo, startOrigin } from "../support/origins.ts";
import { until } from "../support/proxy.ts";
import { send } from "../support/send.ts";
import { childrenOf, isAlive, startWorkers, type WorkersProcess } from "../support/workers.ts";

const rulesFor = (...servers: string[]) => `
provider: file
upstreams:
  a.test:
    paths:
      "/":
        servers: [${servers.map((server) => `"${server}"`).join(", ")}]
`;

/** Starting several programs on a busy machine takes its time. */
const patienceMs = 120_000;

/** So many requests, each on a connection of its own, so that every worker gets some. */
async function ask(proxy: WorkersProcess, count: number, target = "/x"): Promise<number[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => send(proxy.port, target)));
  return answers.map(({ status }) => status);
}

/** Which workers answer: each connection goes to one of them. */
async function spread(proxy: WorkersProcess, requests: number): Promise<number> {
  const before = await proxy.scrape();
  await ask(proxy, requests);
  const after = await proxy.scrape();
  return after.value("aralez_requests_total")! - before.value("aralez_requests_total")!;
}

test(
  "the started process has as many children as `threads` says, and they serve one set of rules",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(4, rulesFor(up.address));
    const workers = await proxy.serving();
    expect(workers.map(({ worker }) => worker)).toEqual([1, 2, 3, 4]);
    expect(workers.map(({ pid }) => pid).sort()).toEqual(childrenOf(proxy.pid).sort());
    expect(new Set(workers.map(({ version }) => version)).size).toBe(1);
    expect(await ask(proxy, 40)).toEqual(Array(40).fill(200));
    expect(up.requests).toHaveLength(40);
    expect(await spread(proxy, 40)).toBe(40);
    const told = await run(["status", "-c", join(proxy.folder, "main.yaml")]);
    expect(told.out).toContain(
      `workers: ${workers.map(({ worker, pid }) => `${worker} serving (process ${pid})`).join(", ")}`,
    );
    const scrape = await proxy.scrape();
    expect(scrape.value('aralez_route_requests_total{host="a.test",route="a.test/",method="GET",code="200"}')).toBe(80);
    expect(scrape.like("aralez_worker_up{").map((series) => scrape.value(series))).toEqual([1, 1, 1, 1]);
    expect(proxy.faults()).toBe("");
  },
  patienceMs,
);

test(
  "new rules are live on all workers when the push is answered, and on none when one worker cannot take them",
  async () => {
    await using old = await startOrigin(echo("old"));
    await using young = await startOrigin(echo("young"));
    await using proxy = await startWorkers(3, rulesFor(old.address));
    const [first] = await proxy.serving();
    const before = first!.version;
    // A folder that is there for the supervisor, which reads the rules first, and for none of the workers.
    const own = `/proc/self/task/${proxy.pid}`;
    const bad = rulesFor(young.address) + `      "/files":\n        files: ${own}\n`;
    const refused = await proxy.admin("/conf", { method: "POST", body: bad });
    expect(await refused.text()).toContain(`Cannot serve files of route a.test/files from "${own}"`);
    expect(refused.status).toBe(400);
    expect((await proxy.workers()).map(({ version }) => version)).toEqual([before, before, before]);
    expect(await ask(proxy, 30)).toEqual(Array(30).fill(200));
    expect(young.requests).toHaveLength(0);
    const applied = await proxy.admin("/conf", { method: "POST", body: rulesFor(young.address) });
    expect(applied.status).toBe(200);
    const [, after] = /version: (\w+)/.exec(await applied.text())!;
    expect(await ask(proxy, 30)).toEqual(Array(30).fill(200));
    expect(old.requests).toHaveLength(30);
    expect(young.requests).toHaveLength(30);
    expect((await proxy.workers()).map(({ version }) => version)).toEqual([after!, after!, after!]);
  },
  patienceMs,
);

test(
  "a worker that does not answer keeps new rules from all, and is replaced",
  async () => {
    await using old = await startOrigin(echo("old"));
    await using young = await startOrigin(echo("young"));
    await using proxy = await startWorkers(2, rulesFor(old.address));
    const [first, second] = await proxy.serving();
    process.kill(second!.pid, "SIGSTOP");
    const refused = await proxy.admin("/conf", { method: "POST", body: rulesFor(young.address) });
    expect(await refused.text()).toContain(`worker 2 (pid ${second!.pid}) did not answer within`);
    expect(refused.status).toBe(400);
    const [again] = await proxy.workers();
    expect(again).toMatchObject({ pid: first!.pid, version: first!.version, restarts: 0 });
    const [line] = await proxy.logged(/worker 2 .* has ended .*silent for/);
    expect(line).toContain(`pid ${second!.pid}`);
    const workers = await until(
      async () => {
        const all = await proxy.serving();
        return all[1]!.pid !== second!.pid && all;
      },
      "another worker 2",
      60,
    );
    expect(workers[1]).toMatchObject({ version: first!.version, restarts: 1 });
    expect(await ask(proxy, 20)).toEqual(Array(20).fill(200));
    expect(young.requests).toHaveLength(0);
    expect((await proxy.admin("/conf", { method: "POST", body: rulesFor(young.address) })).status).toBe(200);
    expect(await ask(proxy, 20)).toEqual(Array(20).fill(200));
    expect(young.requests).toHaveLength(20);
  },
  2 * patienceMs,
);

test(
  "a worker killed under load costs its requests in flight and nothing else, and no counter goes back",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(2, rulesFor(up.address));
    const connections = 10;
    let going = true;
    let answered = 0;
    let failed = 0;
    const load = Array.from({ length: connections }, async () => {
      using client = startClient(proxy.port, "a.test", 1);
      while (going) {
        const ok = await client.ask({ target: "/x" }).then(
          ({ status }) => status === 200,
          () => false,
        );
        if (ok) answered++;
        else failed++;
      }
    });
    const [victim] = await proxy.serving();
    await until(() => answered > 200, "the load");
    const before = await proxy.scrape();
    const answeredBefore = before.value("aralez_requests_total")!;
    process.kill(victim!.pid, "SIGKILL");
    await proxy.logged(new RegExp(`worker 1 \\(pid ${victim!.pid}\\) has ended \\(signal SIGKILL\\)`));
    const workers = await until(async () => {
      const all = await proxy.serving();
      return all[0]!.pid !== victim!.pid && all;
    }, "another worker");
    const reached = answered;
    await until(() => answered > reached + 200, "more answers");
    going = false;
    await Promise.all(load);
    expect(failed).toBeLessThanOrEqual(connections);
    expect(workers[0]!.restarts).toBe(1);
    expect(childrenOf(proxy.pid)).toHaveLength(2);
    const after = await proxy.scrape();
    expect(after.value("aralez_requests_total")!).toBeGreaterThan(answeredBefore);
    expect(after.value('aralez_worker_restarts_total{worker="1"}')).toBe(1);
    expect(after.value('aralez_worker_restarts_total{worker="2"}')).toBe(0);
    expect(after.value("process_cpu_seconds_total")!).toBeGreaterThanOrEqual(
      before.value("process_cpu_seconds_total")!,
    );
    // What it had begun is not under way for ever.
    await until(async () => (await proxy.scrape()).value("aralez_active_sessions") === 0, "no request under way");
  },
  patienceMs,
);

test(
  "a worker that keeps dying is started again at once, and then less and less often",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(2, rulesFor(up.address));
    const said: string[] = [];
    for (let i = 1; i <= 3; i++) {
      const [victim] = await proxy.serving();
      process.kill(victim!.pid, "SIGKILL");
      const [line] = await proxy.logged(new RegExp(`worker 1 \\(pid ${victim!.pid}\\) has ended`));
      said.push(line!.replace(/^.*\): /, ""));
    }
    // Of a machine so busy that a life lasts ten seconds nothing can be said.
    const again = ["another one is started", "another one is started in 0.25 s", "another one is started in 0.5 s"];
    expect(said.every((text, i) => again.slice(0, i + 1).includes(text))).toBe(true);
    expect((await proxy.serving())[0]!.restarts).toBe(3);
    expect(await ask(proxy, 20)).toEqual(Array(20).fill(200));
  },
  patienceMs,
);

test(
  "workers end when their supervisor is killed, one that hangs too",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(2, rulesFor(up.address));
    const pids = (await proxy.serving()).map(({ pid }) => pid);
    process.kill(pids[0]!, "SIGSTOP");
    process.kill(proxy.pid, "SIGKILL");
    await until(() => !pids.some(isAlive), "the end of all workers");
    const refused = () =>
      send(proxy.port, "/").then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED",
      );
    await until(refused, "nobody to listen any more");
  },
  patienceMs,
);

test(
  "rate_limit: 100 admits 100 a second over four workers",
  async () => {
    await using up = await startOrigin();
    const rules = `${rulesFor(up.address)}        rate_limit: 100\n`;
    await using proxy = await startWorkers(4, rules, "access_log: all\naccess_log_format: json\n");
    await proxy.serving();
    // The machine may be too busy to send them all within a second: then it is tried again.
    await until(
      async () => {
        await Bun.sleep(1_100);
        const startMs = performance.now();
        const statuses = await ask(proxy, 300);
        if (performance.now() - startMs > 950) return false;
        expect(statuses.filter((status) => status === 200)).toHaveLength(100);
        expect(statuses.filter((status) => status === 429)).toHaveLength(200);
        return true;
      },
      "300 requests within a second",
      60,
    );
  },
  patienceMs,
);

test(
  "max_concurrent holds over two workers, and what a killed one held is given back",
  async () => {
    let release = () => {};
    const wait = new Promise<void>((resolve) => (release = resolve));
    let waiting = 0;
    await using up = await startOrigin(async (request, response) => {
      waiting++;
      if (request.url === "/slow") await wait;
      response.end("ok");
    });
    const rules = `${rulesFor(up.address)}        max_concurrent: 6\n        retries: 0\n`;
    await using proxy = await startWorkers(2, rules);
    const slow = () => Array.from({ length: 6 }, () => send(proxy.port, "/slow").catch(() => undefined));
    const held = slow();
    await until(() => waiting === 6, "six requests under way");
    expect(await ask(proxy, 10)).toEqual(Array(10).fill(429));
    const before = await proxy.serving();
    for (const { pid } of before) process.kill(pid, "SIGKILL");
    await until(async () => (await proxy.serving()).every(({ restarts }) => restarts === 1), "two other workers");
    await Promise.all(held);
    const again = slow();
    await until(() => waiting === 12, "six others under way");
    expect(await ask(proxy, 10)).toEqual(Array(10).fill(429));
    release();
    expect((await Promise.all(again)).map((answer) => answer?.status)).toEqual(Array(6).fill(200));
    expect(await ask(proxy, 1)).toEqual([200]);
  },
  patienceMs,
);

test(
  "x4xx_limit counts what all workers have answered",
  async () => {
    await using up = await startOrigin((_, response) => ((response.statusCode = 404), void response.end("none")));
    await using proxy = await startWorkers(3, `${rulesFor(up.address)}        x4xx_limit: 10\n`);
    await proxy.serving();
    await until(
      async () => {
        await Bun.sleep(1_100);
        const startMs = performance.now();
        const statuses: number[] = [];
        // One after the other: how many are counted while others are under way is not the point.
        while (statuses.length < 15) statuses.push((await send(proxy.port, "/")).status);
        if (performance.now() - startMs > 950) return false;
        expect(statuses).toEqual([...Array<number>(10).fill(404), ...Array<number>(5).fill(429)]);
        return true;
      },
      "15 requests within a second",
      60,
    );
  },
  patienceMs,
);

test(
  "round robin goes round over all workers together",
  async () => {
    await using one = await startOrigin();
    await using two = await startOrigin();
    await using three = await startOrigin();
    await using proxy = await startWorkers(3, rulesFor(one.address, two.address, three.address));
    await proxy.serving();
    expect(await ask(proxy, 90)).toEqual(Array(90).fill(200));
    expect([one, two, three].map(({ requests }) => requests.length)).toEqual([30, 30, 30]);
  },
  patienceMs,
);

test(
  "a server that one worker has put aside is left alone by the others",
  async () => {
    await using good = await startOrigin();
    let hits = 0;
    const bad = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => (hits++, socket.resetAndDestroy()));
    });
    await new Promise<void>((resolve) => bad.listen(0, "127.0.0.1", resolve));
    const { port } = bad.address() as net.AddressInfo;
    const rules =
      rulesFor(good.address, `127.0.0.1:${port}`) +
      "        healthcheck: false\n        max_fails: 1\n        fail_timeout: 300\n";
    await using proxy = await startWorkers(4, rules);
    await proxy.serving();
    try {
      for (let i = 0; i < 4 && hits === 0; i++) await send(proxy.port, "/");
      await proxy.logged(/is put aside for 300 s/);
      const status = await until(async () => {
        const text = await (await proxy.admin("/status")).text();
        return text.includes('"state":"aside"') && text;
      }, "the supervisor to know");
      expect(status).toContain(`"server":"127.0.0.1:${port}","state":"aside"`);
      // Two messages are on their way at most: one to the supervisor and one to each worker.
      await proxy.admin("/explain?url=http://a.test/");
      const before = hits;
      expect(await ask(proxy, 60)).toEqual(Array(60).fill(200));
      expect(hits).toBe(before);
      // A worker that joins late knows it too.
      const [victim] = await proxy.serving();
      process.kill(victim!.pid, "SIGKILL");
      await until(async () => (await proxy.serving())[0]!.pid !== victim!.pid, "another worker");
      expect(await ask(proxy, 60)).toEqual(Array(60).fill(200));
      expect(hits).toBe(before);
    } finally {
      bad.close();
    }
  },
  patienceMs,
);

test(
  "a sticky cookie leads to its server whichever worker reads it, before and after one is replaced",
  async () => {
    await using one = await startOrigin(echo("one"));
    await using two = await startOrigin(echo("two"));
    const rules = `${rulesFor(one.address, two.address)}        sticky_sessions: 600\n`;
    await using proxy = await startWorkers(2, rules);
    const [victim] = await proxy.serving();
    const first = await send(proxy.port, "/");
    const cookie = first.field("set-cookie")!.split(";")[0]!;
    const holder = one.requests.length === 1 ? one : two;
    const follow = () =>
      Promise.all(Array.from({ length: 20 }, () => send(proxy.port, "/", { fields: [["Cookie", cookie]] })));
    await follow();
    process.kill(victim!.pid, "SIGKILL");
    await until(async () => (await proxy.serving())[0]!.pid !== victim!.pid, "another worker");
    await follow();
    expect(holder.requests).toHaveLength(41);
  },
  patienceMs,
);

test(
  "SIGTERM drains all workers: what runs is finished, what is idle is closed, and nobody stays",
  async () => {
    await using up = await startOrigin(async (_, response) => {
      await Bun.sleep(1_000);
      response.end("late");
    });
    await using proxy = await startWorkers(3, rulesFor(up.address));
    const pids = (await proxy.serving()).map(({ pid }) => pid);
    const asked = Array.from({ length: 9 }, () => send(proxy.port, "/"));
    await until(async () => (await proxy.scrape()).value("aralez_active_sessions") === 9, "nine requests under way");
    process.kill(proxy.pid, "SIGTERM");
    expect((await Promise.all(asked)).map(({ status, body }) => [status, body])).toEqual(Array(9).fill([200, "late"]));
    await until(() => !pids.some(isAlive) && !isAlive(proxy.pid), "the end of everything");
  },
  patienceMs,
);

test(
  "a worker's own SIGTERM, SIGINT and SIGHUP are its supervisor's business",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(2, rulesFor(up.address));
    const workers = await proxy.serving();
    for (const { pid } of workers) for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.kill(pid, signal);
    expect(await ask(proxy, 20)).toEqual(Array(20).fill(200));
    expect((await proxy.workers()).map(({ pid, restarts }) => [pid, restarts])).toEqual(
      workers.map(({ pid }) => [pid, 0]),
    );
  },
  patienceMs,
);

test(
  "a second instance on the same ports is refused, and so is a unix socket for several workers",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(2, rulesFor(up.address));
    await proxy.serving();
    using folder = temporaryFolder();
    const mainFile = join(folder.path, "main.yaml");
    const settings = (address: string) =>
      `upstreams_conf: ${proxy.folder}/upstreams.yaml\nproxy_address_http: ${address}\nconfig_address: 127.0.0.1:${freePort()}\nthreads: 2\n`;
    await Bun.write(mainFile, settings(`127.0.0.1:${proxy.port}`));
    const second = await run(["-c", mainFile]);
    expect(second.code).toBe(1);
    expect(second.err).toContain(`Cannot listen on 127.0.0.1:${proxy.port}`);
    await Bun.write(mainFile, settings(`unix:${folder.path}/p.sock`));
    const third = await run(["-c", mainFile]);
    expect(third.code).toBe(1);
    expect(third.err).toContain("a unix socket needs threads: 1");
    expect(await ask(proxy, 20)).toEqual(Array(20).fill(200));
  },
  patienceMs,
);

test(
  "all workers write to one log, and to its new file after SIGUSR1",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(3, rulesFor(up.address), "access_log: all\n");
    await proxy.serving();
    await ask(proxy, 30, "/before");
    await proxy.logged(/GET \/before/, 30);
    const log = join(proxy.folder, "log.txt");
    renameSync(log, `${log}.old`);
    process.kill(proxy.pid, "SIGUSR1");
    await until(() => existsSync(log) || ask(proxy, 1, "/knock").then(() => false), "a new file");
    await ask(proxy, 60, "/after");
    const lines = await proxy.logged(/GET \/after/, 60);
    expect(lines).toHaveLength(60);
    const everything = readFileSync(`${log}.old`, "utf8") + readFileSync(log, "utf8");
    for (const line of everything.trimEnd().split("\n"))
      expect(line).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ /);
  },
  patienceMs,
);

test(
  "settings that SIGHUP changes reach the workers",
  async () => {
    await using up = await startOrigin();
    await using proxy = await startWorkers(2, rulesFor(up.address), "access_log: off\n");
    await proxy.serving();
    const mainFile = join(proxy.folder, "main.yaml");
    await Bun.write(mainFile, readFileSync(mainFile, "utf8").replace("access_log: off", "access_log: all"));
    expect((await proxy.admin("/reload", { method: "POST" })).status).toBe(200);
    await ask(proxy, 20, "/seen");
    expect(await proxy.logged(/GET \/seen/, 20)).toHaveLength(20);
  },
  patienceMs,
);

test(
  "a WebSocket survives a reload",
  async () => {
    const origin = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("ok")),
      websocket: { message: (socket, message) => void socket.send(`echo ${message}`) },
    });
    await using proxy = await startWorkers(2, rulesFor(`127.0.0.1:${origin.port}`));
    await proxy.serving();
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/`, { headers: { Host: "a.test" } });
    const heard: string[] = [];
    socket.onmessage = ({ data }) => void heard.push(String(data));
    await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
    socket.send("1");
    await until(() => heard.length === 1, "the first echo");
    const more = `${rulesFor(`127.0.0.1:${origin.port}`)}        client_headers: ["X-New: yes"]\n`;
    expect((await proxy.admin("/conf", { method: "POST", body: more })).status).toBe(200);
    expect((await send(proxy.port, "/")).field("x-new")).toBe("yes");
    socket.send("2");
    await until(() => heard.length === 2, "the second echo");
    expect(heard).toEqual(["echo 1", "echo 2"]);
    socket.close();
    origin.stop(true);
  },
  patienceMs,
);

test(
  "a worker that cannot serve keeps the program from starting, and says why",
  async () => {
    using folder = temporaryFolder();
    const mainFile = join(folder.path, "main.yaml");
    await Bun.write(join(folder.path, "upstreams.yaml"), rulesFor("127.0.0.1:9"));
    const address = `127.0.0.1:${freePort()}`;
    // Listeners that share a port with other processes would share it with each other.
    const both = `proxy_address_http: ${address}\nproxy_address_tls: ${address}\nlistener_engine: bun\n`;
    await Bun.write(
      mainFile,
      `${both}config_address: 127.0.0.1:${freePort()}\nthreads: 2\nproxy_configs: ${folder.path}\n`,
    );
    await using program = new Started(["-c", mainFile]);
    const code = await program.ended();
    expect([code, program.err, program.out]).toEqual([1, expect.stringContaining(`Cannot listen`), expect.any(String)]);
  },
  patienceMs,
);
