/** nginx as the upstream: what its clients get through the proxy is what they would get from it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { collectedBodyBytesMax } from "../../src/lib/limits.ts";
import { freePort } from "../cli/program.ts";
import { startClient, type Asked, type Client } from "../support/ask.ts";
import { startNginx, type Nginx } from "../support/nginx.ts";
import { startProxyProcess, type ProxyProcess } from "../support/proxy-process.ts";
import { anyQuestion, Dice, faultOf, writeFiles, type Question } from "./nginx-files.ts";

setDefaultTimeout(60_000);

const certificates = join(import.meta.dir, "../../certs");
const tlsPort = freePort();
const host = "files.test";
const requests = 10_000;
const concurrent = 20;
const sampleEvery = requests / 200;

let nginx: Nginx;
let proxy: ProxyProcess;
let direct: Client;
let through: Client;

beforeAll(async () => {
  nginx = await startNginx({
    // Connections that end after 500 requests: a pool must cope with that.
    server: `
      keepalive_requests 500;
      client_max_body_size 0;
      location /zip/ { alias ROOT/; gzip on; gzip_types *; gzip_min_length 1; }
      location /dav/ { root DAV; dav_methods PUT DELETE MKCOL; create_full_put_path on; }
      location = /many { add_header Set-Cookie "a=1; Path=/"; add_header Set-Cookie "b=2"; add_header X-Blank ""; add_header Link "</a>; rel=preload, </b>; rel=preload"; return 299 "many"; }
      location = /none { return 204; }
      location = /moved { return 308 /elsewhere?x=1; }
      location = /closed { return 444; }
    `,
    more: `server {
      listen 127.0.0.1:${tlsPort} ssl http2;
      ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate ${certificates}/dev.crt; ssl_certificate_key ${certificates}/dev.key;
      location / { return 200 "tls=$ssl_protocol sni=$ssl_server_name host=$http_host via=$server_protocol"; }
    }`,
  });
  proxy = await startProxyProcess(`
upstreams:
  ${host}: { paths: { "/": { servers: ["${nginx.address}"] } } }
  detected.test: { paths: { "/": { servers: ["127.0.0.1:${tlsPort}"] } } }
  strict.test: { paths: { "/": { verify: true, servers: ["127.0.0.1:${tlsPort}"] } } }
  unchecked.test: { paths: { "/": { verify: true, protocol: https, healthcheck: false, servers: ["127.0.0.1:${tlsPort}"] } } }
  trusted.test: { paths: { "/": { ca_file: "${certificates}/dev.crt", server_name: localhost, servers: ["127.0.0.1:${tlsPort}"] } } }
  wrongly-named.test: { paths: { "/": { ca_file: "${certificates}/dev.crt", server_name: other.test, servers: ["127.0.0.1:${tlsPort}"] } } }
`);
  direct = startClient(nginx.port, host, 1);
  through = startClient(proxy.port, host, concurrent);
});

afterAll(async () => {
  direct?.[Symbol.dispose]();
  through?.[Symbol.dispose]();
  await proxy?.[Symbol.asyncDispose]();
  await nginx?.[Symbol.asyncDispose]();
});

/** Fields that need not be what nginx sent, and why. */
const mayDiffer: Readonly<Record<string, (answer: Asked) => boolean>> = {
  // Two requests, two moments.
  date: () => true,
  // Each connection has its own. (Neither are the reason phrases compared: Bun.serve writes its own.)
  connection: () => true,
  "keep-alive": () => true,
  // Bun.serve sends a streamed body in chunks (README, known limits); only bodies up to this size keep their length.
  "content-length": ({ body }) => body.length > collectedBodyBytesMax,
  "transfer-encoding": ({ body }) => body.length > collectedBodyBytesMax,
};

/** @returns the names of the fields that differ and must not */
function differences(own: Asked, theirs: Asked): string[] {
  const names = new Set([...own.fields.keys(), ...theirs.fields.keys()]);
  return [...names]
    .filter((name) => own.fields.get(name) !== theirs.fields.get(name) && !mayDiffer[name]?.(theirs))
    .map((name) => `${name}: "${own.fields.get(name)}" instead of "${theirs.fields.get(name)}"`);
}

describe("files of nginx through the proxy", () => {
  test("10,000 requests get the same bytes, statuses and fields as from nginx itself", async () => {
    const dice = new Dice(20261121);
    const files = await writeFiles(nginx.root, dice, direct);
    const questions: Question[] = Array.from({ length: requests }, () => anyQuestion(files, dice));
    const faults: string[] = [];
    let next = 0;
    const work = async () => {
      for (let at = next++; at < requests && faults.length < 20; at = next++) {
        const question = questions[at]!;
        const answer = await through.ask(question);
        const fault = faultOf(question, answer);
        if (fault !== "") faults.push(fault);
        if (at % sampleEvery !== 0) continue;
        const theirs = await direct.ask(question);
        const found = differences(answer, theirs);
        if (!answer.body.equals(theirs.body)) found.push("body");
        if (found.length > 0)
          faults.push(
            `${question.method ?? "GET"} ${question.target} ${JSON.stringify(question.fields ?? {})}: ${found.join(", ")}`,
          );
      }
    };
    await Promise.all(Array.from({ length: concurrent }, work));
    expect(faults).toEqual([]);
    expect(proxy.faults()).toBe("");
  }, 120_000);

  test("an answer that nginx compresses and sends in chunks arrives as it was sent", async () => {
    for (const size of [1, 10_000, 150_000]) {
      const content = new Dice(size).bytes(size).toString("base64");
      await Bun.write(join(nginx.root, `zip-${size}.txt`), content);
      const question = { target: `/zip/zip-${size}.txt`, fields: { "Accept-Encoding": "gzip" } };
      const [own, theirs] = [await through.ask(question), await direct.ask(question)];
      expect(theirs.fields.get("content-encoding")).toBe("gzip");
      expect(differences(own, theirs).filter((fault) => !/^(content-length|transfer-encoding):/.test(fault))).toEqual(
        [],
      );
      expect(own.body.equals(theirs.body)).toBe(true);
      expect(gunzipSync(own.body).toString()).toBe(content);
    }
  });

  test("two Set-Cookie lines, odd statuses, redirects and empty answers arrive as they were sent", async () => {
    for (const target of ["/many", "/none", "/moved"]) {
      const [own, theirs] = [await through.ask({ target }), await direct.ask({ target })];
      expect(own.status).toBe(theirs.status);
      expect(differences(own, theirs)).toEqual([]);
      expect(own.body.equals(theirs.body)).toBe(true);
    }
  });

  test("a request of several ranges gets both parts", async () => {
    const content = new Dice(7).bytes(5_000);
    await Bun.write(join(nginx.root, "parts.bin"), content);
    const { status, fields, body } = await through.ask({
      target: "/parts.bin",
      fields: { Range: "bytes=0-99,4000-4099" },
    });
    expect(status).toBe(206);
    expect(fields.get("content-type")).toStartWith("multipart/byteranges; boundary=");
    expect(fields.get("content-length")).toBe(String(body.length));
    expect(body.includes(content.subarray(0, 100))).toBe(true);
    expect(body.includes(content.subarray(4000, 4100))).toBe(true);
  });

  test("nginx closing the connection without an answer is 502", async () => {
    const { status, body } = await through.ask({ target: "/closed" });
    expect(status).toBe(502);
    expect(body.toString()).toStartWith("502 Bad Gateway");
    // One odd target must not put the only server aside for the others.
    expect((await through.ask({ target: "/many" })).status).toBe(299);
  });
});

describe("nginx reloading its configuration", () => {
  test("fails no request, although it closes every pooled connection", async () => {
    await Bun.write(join(nginx.root, "steady.txt"), "steady");
    const before = await nginx.accepted();
    const answers: string[] = [];
    let reloads = 0;
    const work = async () => {
      while (reloads < 5 || answers.length < 2_000) {
        const { status, body } = await through.ask({ target: "/steady.txt" });
        if (answers.push(`${status} ${body}`) % 300 === 0 && reloads++ < 5) nginx.reload();
      }
    };
    await Promise.all(Array.from({ length: concurrent }, work));
    expect([...new Set(answers)]).toEqual(["200 steady"]);
    // It did close them: the counter lives in memory that workers share.
    expect(await nginx.accepted()).toBeGreaterThan(before + concurrent);
  });
});

describe("uploads to nginx through the proxy", () => {
  // nginx puts the whole target below the folder above its root.
  const above = () => join(nginx.root, "..");

  test.each([
    ["with Content-Length", {}],
    ["in chunks", { "Transfer-Encoding": "chunked" }],
  ] as const)("a PUT %s arrives on the disk byte for byte", async (_, fields) => {
    for (const size of [0, 1, 65_536, 65_537, 1_000_003, 20_000_000]) {
      const content = new Dice(size + 1).bytes(size);
      const target = `/dav/folder/${Object.keys(fields).length}-${size}.bin`;
      const { status } = await through.ask({ method: "PUT", target, fields, body: content });
      expect([target, status]).toEqual([target, 201]);
      expect(readFileSync(above() + target).equals(content)).toBe(true);
      expect((await through.ask({ method: "PUT", target, fields, body: content })).status).toBe(204);
      expect((await through.ask({ method: "DELETE", target })).status).toBe(204);
      expect((await through.ask({ target })).status).toBe(404);
    }
  });

  test("a WebDAV method reaches nginx as it is", async () => {
    expect((await through.ask({ method: "MKCOL", target: "/dav/made/" })).status).toBe(201);
    expect((await through.ask({ method: "MKCOL", target: "/dav/made/" })).status).toBe(405);
  });
});

describe("nginx with TLS and a self-signed certificate, listed as host:port", () => {
  const ask = async (name: string) => {
    using client = startClient(proxy.port, name, 1);
    return await client.ask({ target: "/" });
  };

  test("works by detection, with one warning that the certificate is not verified", async () => {
    for (let turn = 0; turn < 3; turn++) {
      const { status, body } = await ask("detected.test");
      expect(status).toBe(200);
      expect(body.toString()).toMatch(/^tls=TLSv1\.3 sni=detected\.test host=detected\.test via=HTTP\//);
    }
    expect(await proxy.logged(new RegExp(`127\\.0\\.0\\.1:${tlsPort}.*certificate is not verified`))).toHaveLength(1);
  });

  test("is down for its health check where verify is true: 503, and the log says why", async () => {
    const { status, body } = await ask("strict.test");
    expect(status).toBe(503);
    expect(body.toString()).not.toContain("certificate");
    expect((await proxy.logged(/ WARN health - /))[0]).toContain(`127.0.0.1:${tlsPort} is down: certificate: `);
  });

  test("is refused with 502 where verify is true and nothing checks it, and the log says why", async () => {
    const { status, body } = await ask("unchecked.test");
    expect(status).toBe(502);
    expect(body.toString()).not.toContain("certificate");
    expect((await proxy.logged(/ 502 GET .*host: unchecked\.test/))[0]).toMatch(/certificate/i);
  });

  test("works where ca_file trusts it", async () => {
    const { status, body } = await ask("trusted.test");
    expect([status, body.toString()]).toEqual([200, expect.stringContaining("sni=localhost host=trusted.test")]);
  });

  test("is down where ca_file trusts it but the name is another", async () => {
    expect((await ask("wrongly-named.test")).status).toBe(503);
    await proxy.logged(/ in force: .*not for the name "other\.test"/);
  });
});
