/** The published configurations are the ones that are measured, and every contender that is installed takes its own. */
import { describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { certificateFiles, makeCertificate, type CertificateFiles } from "../../bench/certificate.ts";
import { publishedConfigurations, publishedFolder } from "../../bench/configurations.ts";
import type { Place } from "../../bench/contenders/contender.ts";
import { contenders, missingProgram, type ContenderName } from "../../bench/contenders/index.ts";
import { environment } from "../../bench/processes.ts";
import { scenarios } from "../../bench/scenarios.ts";
import { host } from "../../bench/site.ts";
import { loadSettings } from "../../src/config/load-settings.ts";

test("bench/configs holds what the contenders get (bun run bench --write-configs brings it up to date)", () => {
  const files = [...new Bun.Glob("**/*").scanSync({ cwd: publishedFolder })];
  const published = new Map(files.map((file) => [file, readFileSync(join(publishedFolder, file), "utf8")]));
  const current = publishedConfigurations();
  expect([...published.keys()].sort()).toEqual([...current.keys()].sort());
  for (const [file, content] of current) expect(published.get(file)).toBe(content);
});

test("scenarios name contenders that exist", () => {
  const named = Object.values(scenarios).flatMap(({ also = [], only = [], reference = "nginx" }) => [
    ...also,
    ...only,
    reference,
  ]);
  expect(named.filter((name) => !Object.hasOwn(contenders, name))).toEqual([]);
});

describe("a contender takes its configuration", () => {
  const checks: Partial<Record<ContenderName, (folder: string) => string[]>> = {
    nginx: (folder) => ["nginx", "-e", "stderr", "-t", "-q", "-p", folder, "-c", join(folder, "nginx.conf")],
    "nginx-large": (folder) => ["nginx", "-e", "stderr", "-t", "-q", "-p", folder, "-c", join(folder, "nginx.conf")],
    haproxy: (folder) => ["haproxy", "-c", "-q", "-f", join(folder, "haproxy.cfg")],
    caddy: (folder) => ["caddy", "validate", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
  };
  const ways = [false, true].filter((tls) => !tls || Bun.which("openssl", environment()));
  for (const tls of ways) {
    const title = (name: string) => (tls ? `${name}, with TLS` : name);
    for (const [name, command] of Object.entries(checks) as [ContenderName, (folder: string) => string[]][]) {
      test.skipIf(missingProgram(name) !== undefined)(title(name), () =>
        withPlan(name, tls, (folder) => {
          const { exitCode, stderr } = Bun.spawnSync(command(folder), { env: environment(), cwd: folder });
          expect(exitCode === 0 ? "" : String(stderr)).toBe("");
        }),
      );
    }

    for (const name of Object.keys(contenders).filter((name) => name.startsWith("aralez"))) {
      test(title(name), () =>
        withPlan(name as ContenderName, tls, (folder) => {
          const { problems } = loadSettings({ file: join(folder, "main.yaml"), text: undefined }, {});
          expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
        }),
      );
    }
  }
});

test("with TLS each contender has the pair, the HTTP/2 origin and https for the origin; in clear none of it", () => {
  const certificate = certificateFiles("/tls");
  const said: Partial<Record<ContenderName, readonly string[]>> = {
    aralez: [
      "proxy_address_tls: 127.0.0.1:65001",
      "proxy_configs: /tls",
      "listener_engine: socket",
      "h2c://127.0.0.1:65004",
    ],
    "aralez-bun": ["proxy_address_tls: 127.0.0.1:65001", "listener_engine: bun"],
    nginx: [
      "listen 127.0.0.1:65001 ssl http2",
      "ssl_certificate_key /tls/bench.key",
      "server 127.0.0.1:65004",
      "TLSv1.3",
    ],
    haproxy: ["ssl crt /tls/bench.crt alpn h2,http/1.1", "127.0.0.1:65004 proto h2", "X-Forwarded-Proto https"],
    caddy: [
      "https://host-0.bench.test:65001",
      "tls /tls/bench.crt /tls/bench.key",
      "reverse_proxy h2c://127.0.0.1:65004",
    ],
  };
  for (const [name, lines] of Object.entries(said) as [ContenderName, readonly string[]][]) {
    const text = (tls: boolean) =>
      Object.values(contenders[name].plan(placeOf("/folder", certificate, tls)).files).join("\n");
    const [clear, secured] = [text(false), text(true)];
    expect(lines.filter((line) => !secured.includes(line))).toEqual([]);
    const foreign = ["65004", "/tls", "h2c.bench.test", "https://", "Proto https"];
    expect(foreign.filter((line) => clear.includes(line))).toEqual([]);
    const hostsIn = (config: string) => config.match(/host-\d+\.bench\.test/g)!.length;
    expect(hostsIn(secured)).toBe(hostsIn(clear));
  }
});

test("a certificate is made for all hosts, ECDSA on P-256", () => {
  const folder = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
  try {
    const files = certificateFiles(join(folder, "tls"));
    makeCertificate(files);
    const certificate = new X509Certificate(readFileSync(files.certificate));
    expect(certificate.checkHost(host)).toBe("*.bench.test");
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
    expect(certificate.checkPrivateKey(createPrivateKey(readFileSync(files.key)))).toBe(true);
    expect(readdirSync(files.folder).sort()).toEqual(["bench.crt", "bench.key"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function placeOf(folder: string, files: CertificateFiles, tls: boolean): Place {
  const ports = { port: 65_001, originPort: 65_002, echoPort: 65_003 };
  return {
    folder,
    ...ports,
    ...(tls && { tls: { ...files, h2cPort: 65_004, plainPort: 65_005 } }),
    tree: folder,
    baseline: undefined,
  };
}

function withPlan(name: ContenderName, tls: boolean, act: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "aralez-bench-test-"));
  try {
    const files = certificateFiles(join(folder, "tls"));
    if (tls) makeCertificate(files);
    const place = placeOf(folder, files, tls);
    for (const [file, content] of Object.entries(contenders[name].plan(place).files)) {
      expect(relative(folder, join(folder, file))).toBe(file);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, file), content);
    }
    act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
