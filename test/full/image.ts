/** The image of the Dockerfile, built and run without an engine. For `.ci/full`: it needs root and Debian's packages. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { madeByUs, put } from "../support/certificates.ts";
import { Container, done, finished, ImageStore, ownedFolder, type ImageConfig } from "../support/container.ts";
import { pathOf } from "../support/programs.ts";
import { until } from "../support/proxy.ts";

const folder = mkdtempSync(join(tmpdir(), "aralez-image-"));
const store = new ImageStore(folder);
const uid = "65532:65532";
let config: ImageConfig;
/** of the image for this machine */
let files = "";
let base = "";

beforeAll(async () => {
  if (process.getuid?.() !== 0) throw new Error("Cannot test the image: namespaces and chroot need root");
  base = await store.base("trixie", process.env.ARALEZ_DEBOOTSTRAPPED);
  const image = await store.build(base, process.arch === "x64" ? "amd64" : "arm64");
  config = await store.configOf(image);
  files = await store.mount(image);
}, 900_000);

afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

let folders = 0;
/** A configuration as a user would mount it: files of root that everybody may read. */
function configured(written: Record<string, string>): string {
  const path = join(folder, `configuration-${folders++}`);
  mkdirSync(path, { mode: 0o755 });
  for (const [name, text] of Object.entries(written)) writeFileSync(join(path, name), text, { mode: 0o644 });
  return path;
}

describe("the image", () => {
  test("says what engines need to know", () => {
    expect(config.User).toBe(uid);
    expect(config.StopSignal).toBe("SIGTERM");
    expect(Object.keys(config.ExposedPorts).sort()).toEqual(["443/tcp", "80/tcp"]);
    expect(Object.keys(config.Volumes)).toEqual(["/var/lib/aralez"]);
    expect([...config.Entrypoint, ...config.Cmd]).toEqual(["/usr/local/bin/aralez", "-c", "/etc/aralez/main.yaml"]);
    expect(config.Labels).toMatchObject({
      "org.opencontainers.image.title": "Aralez",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": "1.2.3",
    });
  });

  test("answers with its own configuration, is healthy, has no right of root, and ends at SIGTERM", async () => {
    await using container = new Container(config, files);
    const page = await container.curl("-i", "http://127.0.0.1/");
    expect(page).toStartWith("HTTP/1.1 200");
    expect(page).toContain("Aralez is running");
    expect(await container.check()).toEqual({ code: 0, text: "ok\n" });
    expect(container.status("Uid").split("\t")).toEqual(Array(4).fill("65532"));
    expect(container.status("Gid").split("\t")).toEqual(Array(4).fill("65532"));
    expect(container.status("CapEff")).toMatch(/^0+$/);
    expect(container.status("CapBnd")).toMatch(/^0+$/);
    expect(container.status("NSpid").split("\t").at(-1)).toBe("1");
    for (const place of ["/etc/aralez/x", "/usr/local/bin/x", "/tmp/x"])
      expect((await container.run(["touch", place])).text).toContain("Read-only file system");
    expect((await container.run(["/usr/local/bin/aralez", "version"])).text).toMatch(/^aralez \d/);
    expect((await container.run(["id"])).text).toContain("uid=65532(aralez) gid=65532(aralez)");
    expect(await container.stop()).toBe(0);
  }, 120_000);

  test("is not healthy when nothing answers", async () => {
    await using container = new Container(config, files);
    await container.curl("http://127.0.0.1/");
    process.kill(container.pid, "SIGSTOP");
    const { code, text } = await container.check();
    process.kill(container.pid, "SIGCONT");
    expect(code).toBe(1);
    expect(text).toContain("Cannot ask the admin API on 127.0.0.1:3000: no answer within");
  }, 120_000);
});

describe("docker run -v DIR:/etc/aralez:ro -p 80:80 -p 443:443 IMAGE", () => {
  test("serves both ports, reloads, and writes nothing below /etc/aralez: state goes to the volume", async () => {
    const rules = (port: number) =>
      `upstreams: { shop.test: { paths: { "/": { servers: ["127.0.0.1:${port}"] } } } }\n`;
    const configuration = configured({
      // The original's form, and workers, which share memory; port 9 of the authority answers nobody, so that an order is begun and fails.
      "main.yaml": `upstreams_conf: /etc/aralez/upstreams.yaml
proxy_address_http: 0.0.0.0:80
proxy_address_tls: 0.0.0.0:443
proxy_configs: /etc/aralez
config_address: 0.0.0.0:3000
threads: 2
acme: {directory: "https://127.0.0.1:9/directory", domains: [acme.test]}
`,
      "upstreams.yaml": rules(8001),
    });
    put(configuration, "shop", madeByUs(["shop.test"], 90));
    for (const name of readdirSync(configuration)) chmodSync(join(configuration, name), 0o644);
    const before = readdirSync(configuration).sort();
    const state = await ownedFolder(join(folder, "state"), uid);
    await using container = new Container(config, files, { configuration, state });
    await container.curl("http://127.0.0.1/");
    const origin = (port: number) =>
      Bun.spawn(
        container.inNetwork([
          process.execPath,
          "-e",
          `Bun.serve({ hostname: "127.0.0.1", port: ${port}, fetch: () => new Response("from ${port}\\n") })`,
        ]),
        { stdin: "ignore", stdout: "ignore", stderr: "inherit" },
      );
    const origins = [origin(8001), origin(8002)];
    try {
      const get = async (url: string, ...more: string[]) =>
        (
          await container.curl(
            "-k",
            "--resolve",
            "shop.test:80:127.0.0.1",
            "--resolve",
            "shop.test:443:127.0.0.1",
            ...more,
            url,
          )
        ).trim();
      await until(async () => (await get("http://shop.test/")) === "from 8001", "the upstream", 60);
      expect(await get("https://shop.test/", "--http1.1")).toBe("from 8001");
      expect(await get("https://shop.test/", "--http2", "-w", "%{http_version}")).toBe("from 8001\n2");
      // A file that is edited on the host is seen inside.
      writeFileSync(join(configuration, "upstreams.yaml"), rules(8002));
      await until(async () => (await get("http://shop.test/")) === "from 8002", "the new rules", 60);
      await until(() => readdirSync(state).includes("accounts"), "the state of ACME", 60);
      expect(readdirSync(configuration).sort()).toEqual(before);
      expect(await container.check()).toEqual({ code: 0, text: "ok\n" });
      expect(container.output.match(/ ERROR (?!acme - Cannot read the ACME directory).*/g)).toBeNull();
      expect(await container.stop()).toBe(0);
    } finally {
      for (const child of origins) {
        child.kill("SIGKILL");
        await child.exited;
      }
    }
  }, 240_000);

  test("of a folder that the image's user may not read says whose it is and what helps", async () => {
    const configuration = configured({ "main.yaml": "log_level: info\n" });
    chmodSync(join(configuration, "main.yaml"), 0o600);
    await using container = new Container(config, files, { configuration });
    expect(await container.ended()).toBe(1);
    await until(() => container.output.includes("permission denied"), "its last words");
    expect(container.output).toContain(
      'Cannot read "/etc/aralez/main.yaml": permission denied: "/etc/aralez/main.yaml" belongs to root:root (0:0) with mode 0600, and this process runs as uid 65532, gid 65532.',
    );
    expect(container.output).toContain("--user 0:0");
  }, 120_000);

  test("with a mistake in it ends, and says where", async () => {
    const configuration = configured({ "main.yaml": "log_levle: info\n" });
    await using container = new Container(config, files, { configuration });
    expect(await container.ended()).toBe(1);
    await until(() => container.output.includes("log_levle"), "its last words");
    expect(container.output).toContain("/etc/aralez/main.yaml:1:1");
  }, 120_000);
});

test("the other architecture's image holds the other binary", async () => {
  const [arch, machine] = process.arch === "x64" ? ["arm64", "AArch64"] : ["amd64", "X86-64"];
  const other = await store.mount(await store.build(base, arch!));
  expect(await done("readelf", ["-h", join(other, "usr/local/bin/aralez")])).toContain(machine!);
  expect((await finished([pathOf("readelf"), "-h", join(files, "usr/local/bin/aralez")])).text).not.toContain(machine!);
}, 240_000);
