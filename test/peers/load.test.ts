/** Many clients at once, each on a connection of its own that it keeps. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { startNginx } from "../support/nginx.ts";
import { startOrigin } from "../support/origins.ts";
import { long, mebibytes, memoryBytes, openFiles, readLoad, startWrk } from "../support/programs.ts";
import { until } from "../support/proxy.ts";
import { startProxyProcess } from "../support/proxy-process.ts";

setDefaultTimeout(90_000);

const clients = 300;
const seconds = long ? 10 : 4;
const deaths = long ? 3 : 1;

test(`${clients} concurrent keep-alive clients get no error`, async () => {
  await using nginx = await startNginx({
    server: `keepalive_requests 1000000; location = /hello { return 200 "hello"; }`,
  });
  await using proxy = await startProxyProcess(
    `upstreams: { DEFAULT: { paths: { "/": { servers: ["${nginx.address}"] } } } }\n`,
  );
  const before = await nginx.accepted();
  await using wrk = startWrk(`${proxy.url}/hello`, clients, seconds);
  expect(await wrk.end()).toBe(0);
  const load = readLoad(wrk.output);
  const fresh = (await nginx.accepted()) - before;
  console.log(
    `${clients} clients for ${seconds} s: ${load.requests} requests (${Math.round(load.requestsPerSecond)}/s), ` +
      `${fresh} new upstream connections (${Math.round(fresh / seconds)}/s), ${mebibytes(memoryBytes(proxy.pid, "VmHWM"))} peak, ${openFiles(proxy.pid)} files open after`,
  );
  expect(load).toMatchObject({ socketErrors: 0, refusals: 0 });
  expect(load.requests).toBeGreaterThan(clients);
  expect(proxy.faults()).toBe("");
});

test("an upstream killed under load, and coming back, costs no request", async () => {
  const server = `location = /hello { return 200 "hello"; }`;
  await using steady = await startNginx({ server });
  let mortal = await startNginx({ server });
  const { port } = mortal;
  try {
    await using proxy = await startProxyProcess(
      `healthcheck: {rise: 1}\nupstreams: { DEFAULT: { paths: { "/": { servers: ["${steady.address}", "${mortal.address}"] } } } }\n`,
    );
    await using wrk = startWrk(`${proxy.url}/hello`, 20, 3_600);
    for (let turn = 0; turn < deaths; turn++) {
      await until(async () => (await mortal.accepted()) > 0, "it to get requests");
      await mortal[Symbol.asyncDispose]();
      await proxy.logged(/ is put aside | is down/, turn + 1);
      mortal = await startNginx({ server, port });
    }
    await until(async () => (await mortal.accepted()) > 0, "it to get requests again");
    wrk.signal("SIGINT");
    await wrk.end();
    const load = readLoad(wrk.output);
    console.log(`an upstream killed ${deaths} times: ${load.requests} requests`);
    expect(load).toMatchObject({ socketErrors: 0, refusals: 0 });
    expect(proxy.faults()).toBe("");
  } finally {
    await mortal[Symbol.asyncDispose]();
  }
});

test("400 open event streams leave other requests served", async () => {
  await using origin = await startOrigin((request, response) => {
    if (request.url !== "/events") return void response.end("served");
    response.setHeader("Content-Type", "text/event-stream");
    response.write("data: first\n\n");
  });
  await using proxy = await startProxyProcess(
    `upstreams: { DEFAULT: { paths: { "/": { servers: ["${origin.address}"] } } } }\n`,
  );
  const streams = Array.from({ length: 400 }, () => connect(proxy.port, "127.0.0.1"));
  try {
    const heard = streams.map(
      (socket) =>
        new Promise<boolean>((resolve) => {
          let text = "";
          socket.on("data", (data) => (text += data).includes("data: first") && resolve(true));
          socket.on("error", () => resolve(false));
          socket.on("close", () => resolve(false));
          socket.write("GET /events HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n");
        }),
    );
    expect((await Promise.all(heard)).filter((ok) => ok)).toHaveLength(streams.length);
    expect(await (await fetch(`${proxy.url}/other`)).text()).toBe("served");
  } finally {
    for (const socket of streams) socket.destroy();
  }
});
