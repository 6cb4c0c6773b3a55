/** Requests by the million and connections by the thousand: what they need is given back. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { startNginx } from "../support/nginx.ts";
import { long, mebibytes, memoryBytes, openFiles, readLoad, startWrk } from "../support/programs.ts";
import { startProxyProcess, type ProxyProcess } from "../support/proxy-process.ts";
import { until } from "../support/proxy.ts";

const requests = long ? 5_000_000 : 60_000;
const connects = long ? 10_000 : 1_000;
/** The short run ends before the garbage collector has found its rhythm. */
const growthMiBMax = long ? 16 : 64;
const keptAlive = 50;
const atOnce = 50;
const loadSeconds = long ? 10 : 1;

setDefaultTimeout(long ? 3_000_000 : 240_000);

/** Loads it with wrk until so many requests were answered. @returns how many; faults are counted */
async function load(proxy: ProxyProcess, atLeast: number): Promise<{ done: number; faults: number }> {
  let [done, faults] = [0, 0];
  while (done < atLeast) {
    await using wrk = startWrk(`${proxy.url}/hello`, keptAlive, loadSeconds);
    await wrk.end();
    const { requests, socketErrors, refusals } = readLoad(wrk.output);
    done += requests;
    faults += socketErrors + refusals;
  }
  return { done, faults };
}

/** One connection for one request. @returns whether it was answered with 200 and closed in order */
function once(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () =>
      socket.write("GET /hello HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"),
    );
    socket.on("data", (data) => (text += data.toString("latin1")));
    socket.on("error", () => resolve(false));
    socket.on("end", () => {
      socket.destroy();
      resolve(text.startsWith("HTTP/1.1 200 ") && text.endsWith("hello"));
    });
  });
}

async function connectAgain(proxy: ProxyProcess, count: number): Promise<number> {
  let faults = 0;
  for (let done = 0; done < count; done += atOnce) {
    const answered = await Promise.all(Array.from({ length: atOnce }, () => once(proxy.port)));
    faults += answered.filter((ok) => !ok).length;
  }
  return faults;
}

test(`${requests} requests and ${connects} connects need no more memory than half of them, and no descriptor`, async () => {
  await using nginx = await startNginx({
    server: `keepalive_requests 100000000; location = /hello { return 200 "hello"; }`,
  });
  await using proxy = await startProxyProcess(
    `upstreams: { DEFAULT: { paths: { "/": { servers: ["${nginx.address}"] } } } }\n`,
  );
  const residentBytes = [memoryBytes(proxy.pid, "VmRSS")];
  const files = [openFiles(proxy.pid)];
  let [done, faults] = [0, 0];
  const begunMs = performance.now();
  for (const half of [1, 2]) {
    const loaded = await load(proxy, (requests * half) / 2 - done);
    done += loaded.done;
    faults += loaded.faults + (await connectAgain(proxy, connects / 2));
    residentBytes.push(memoryBytes(proxy.pid, "VmRSS"));
    files.push(openFiles(proxy.pid));
  }
  const [fresh, atHalf, atEnd] = residentBytes as [number, number, number];
  console.log(
    `${done} requests and ${connects} connects in ${Math.round((performance.now() - begunMs) / 1000)} s: ` +
      `${mebibytes(fresh)} fresh, ${mebibytes(atHalf)} at half, ${mebibytes(atEnd)} at the end, ` +
      `peak ${mebibytes(memoryBytes(proxy.pid, "VmHWM"))}; descriptors ${files.join(", ")}`,
  );
  expect(faults).toBe(0);
  expect((atEnd - atHalf) / 1024 / 1024).toBeLessThanOrEqual(growthMiBMax);
  // Idle upstream connections may stay; whatever a client left open may not.
  // A busy machine has many answers under way at once, and so more idle connections afterwards: for upstream_keepalive_timeout.
  await until(
    () => openFiles(proxy.pid) <= files[0]! + keptAlive + 10,
    "the descriptors of the clients to be closed",
    100,
  );
  expect(proxy.faults()).toBe("");
});
