/** Services that flap under load: nobody is refused, nothing piles up, and following them costs little. */
import { readFileSync } from "node:fs";
import { expect, setDefaultTimeout, test } from "bun:test";
import { startConsul } from "../support/consul.ts";
import { echo, startOrigin } from "../support/origins.ts";
import { long, mebibytes, memoryBytes } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { startClient } from "../support/ask.ts";

setDefaultTimeout(300_000);

const seconds = long ? 60 : 8;
const services = 100;

/** User and system time of a process, in seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

test(`${services} services that flap for ${seconds} s under load cost no request, no memory and little CPU`, async () => {
  await using one = await startOrigin(echo("one"));
  await using two = await startOrigin(echo("two"));
  await using consul = await startConsul();
  const names = Array.from({ length: services }, (_, i) => `s${i}`);
  const instance = (name: string, port: number) => ({
    id: `${name}-${port}`,
    port,
    tags: ["aralez.service=yes", `aralez.host=${name}.test`, "aralez.path=/"],
  });
  for (const name of names) consul.set(name, [instance(name, one.port)]);
  await using proxy = await startProxyProcess(`provider: consul\nconsul: { servers: ["${consul.url}"] }`);
  await proxy.logged(/100 routes/);

  const failures = new Map<string, number>();
  let done = 0;
  /** Asks all hosts in turn, at a steady pace, so that both halves do the same work. */
  const load = async (untilMs: number) => {
    await Promise.all(
      Array.from({ length: 4 }, async (_, client) => {
        const clients = names.map((name) => startClient(proxy.port, `${name}.test`, 1));
        for (let i = client * 25; performance.now() < untilMs; i++) {
          const at = i % services;
          const status = await clients[at]!.ask({ target: "/" }).then(
            (answer) => String(answer.status),
            (error: Error) => error.message,
          );
          done++;
          if (status !== "200") failures.set(status, (failures.get(status) ?? 0) + 1);
          await Bun.sleep(4);
        }
        for (const one of clients) one[Symbol.dispose]();
      }),
    );
  };
  const measured = async (work: Promise<unknown>) => {
    const [cpu, beganMs] = [cpuSeconds(proxy.pid), performance.now()];
    await work;
    return (cpuSeconds(proxy.pid) - cpu) / ((performance.now() - beganMs) / 1000);
  };
  const flap = async (untilMs: number) => {
    for (let i = 0; performance.now() < untilMs; i++) {
      const name = names[(i * 37) % services]!;
      const both = [instance(name, one.port), instance(name, two.port)];
      consul.set(name, i % 3 === 0 ? both : [both[i % 2]!]);
      await Bun.sleep(5);
    }
  };
  await load(performance.now() + 2_000);
  const quiet = await measured(load(performance.now() + (seconds / 2) * 1000));
  const rss = memoryBytes(proxy.pid, "VmRSS");
  const untilMs = performance.now() + seconds * 1000;
  const seen: string[] = [];
  const sampling = setInterval(() => seen.push(mebibytes(memoryBytes(proxy.pid, "VmRSS"))), (seconds / 6) * 1000);
  const busy = await measured(Promise.all([load(untilMs), flap(untilMs)]));
  clearInterval(sampling);
  // The short run ends before the garbage collector has found its rhythm.
  const grownMax = (long ? 32 : 64) * 1024 * 1024;
  const grownNow = () => memoryBytes(proxy.pid, "VmRSS") - rss;
  for (let i = 0; i < 10 && grownNow() > grownMax; i++) await Bun.sleep(1_000);
  const grown = grownNow();
  console.log(
    `${done} requests; CPU ${(quiet * 100).toFixed(1)} % of a core quiet, ${(busy * 100).toFixed(1)} % flapping; grown by ${mebibytes(grown)} from ${mebibytes(rss)} (${seen.join(", ")})`,
  );
  expect([...failures]).toEqual([]);
  expect(proxy.faults()).toBe("");
  expect(grown).toBeLessThanOrEqual(grownMax);
  if (long) expect(busy - quiet).toBeLessThan(0.3);
});
