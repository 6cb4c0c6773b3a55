/** Every old key and published slip (contract 2.3 and 3.5) has its effect, and exactly one warning that names the successor. */
import { describe, expect, test } from "bun:test";
import type { Settings } from "../../src/config/settings.ts";
import type { Rules } from "../../src/data/routing/rules.ts";
import { goodRules, masterKey, nowhere, onePath, server, settings, settingsOf, warningsOf } from "./support.ts";

interface SettingsRow {
  old: string;
  text: string;
  env?: Record<string, string>;
  /** what the one warning must name */
  says: string;
  effect: (settings: Settings, sticky: number | undefined) => unknown;
  expected: unknown;
}

const settingsRows: SettingsRow[] = [
  {
    old: "proxy_certificates",
    text: "proxy_certificates: /etc/certs",
    says: "proxy_configs",
    effect: (s) => s.proxy_configs,
    expected: "/etc/certs",
  },
  {
    old: "tls_certificate and tls_key_file",
    text: "tls_certificate: etc/server.crt\ntls_key_file: etc/key.pem",
    says: "proxy_configs",
    effect: (s) => [s.tls_certificate, s.tls_key_file],
    expected: [`${nowhere}/etc/server.crt`, `${nowhere}/etc/key.pem`],
  },
  {
    old: "user",
    text: "user: nobody\nrungroup: nogroup",
    says: "runuser",
    effect: (s) => [s.runuser, s.rungroup],
    expected: ["nobody", "nogroup"],
  },
  {
    old: "group",
    text: "runuser: nobody\ngroup: nogroup",
    says: "rungroup",
    effect: (s) => [s.runuser, s.rungroup],
    expected: ["nobody", "nogroup"],
  },
  {
    old: "user alone",
    text: "user: nobody",
    says: "runuser",
    effect: (s) => [s.runuser, s.rungroup],
    expected: ["nobody", "nobody"],
  },
  {
    old: "group alone",
    text: "group: nogroup",
    says: "rungroup",
    effect: (s) => [s.runuser, s.rungroup],
    expected: [undefined, undefined],
  },
  {
    old: "proxy_tls_grade: a+",
    text: "proxy_tls_grade: a+",
    says: "high",
    effect: (s) => s.proxy_tls_grade,
    expected: "high",
  },
  {
    old: "proxy_tls_grade: a",
    text: "proxy_tls_grade: a",
    says: "medium",
    effect: (s) => s.proxy_tls_grade,
    expected: "medium",
  },
  {
    old: "proxy_tls_grade: b",
    text: "proxy_tls_grade: B",
    says: "medium",
    effect: (s) => s.proxy_tls_grade,
    expected: "medium",
  },
  {
    old: "proxy_tls_grade: c",
    text: "proxy_tls_grade: c",
    says: "medium",
    effect: (s) => s.proxy_tls_grade,
    expected: "medium",
  },
  {
    old: "another proxy_tls_grade",
    text: "proxy_tls_grade: strong",
    says: "medium",
    effect: (s) => s.proxy_tls_grade,
    expected: "medium",
  },
  {
    old: "env JWT_KEY",
    text: "master_key: of-the-file",
    env: { JWT_KEY: "of-the-environment" },
    says: "master_key: {env: JWT_KEY}",
    effect: (s) => s.master_key,
    expected: "of-the-environment",
  },
  {
    old: "sticky_sessions: true in main.yaml",
    text: "sticky_sessions: true",
    says: "upstreams.yaml",
    effect: (_, sticky) => sticky,
    expected: 600,
  },
  {
    old: "sticky_sessions: 30 in main.yaml",
    text: "sticky_sessions: 30",
    says: "upstreams.yaml",
    effect: (_, sticky) => sticky,
    expected: 600,
  },
  {
    old: "sticky_sessions: false in main.yaml",
    text: "sticky_sessions: false",
    says: "upstreams.yaml",
    effect: (_, sticky) => sticky,
    expected: 0,
  },
];

describe("main.yaml, every legacy key [2]", () => {
  for (const row of settingsRows) {
    test(`${row.old} works and is warned of once`, () => {
      const loaded = settingsOf(`${row.text}\n`, row.env);
      expect(row.effect(loaded.settings!, loaded.stickySecondsLegacy)).toEqual(row.expected);
      expect(warningsOf(loaded)).toHaveLength(1);
      expect(warningsOf(loaded)[0]).toMatchObject({
        severity: "warning",
        code: "legacy",
        message: expect.stringContaining(row.says),
      });
    });
  }

  test("config_tls_* are today's keys, without a warning", () => {
    const loaded = settingsOf(
      "config_tls_address: 127.0.0.1:3001\nconfig_tls_certificate: /c.crt\nconfig_tls_key_file: /c.key\n",
    );
    expect(loaded.settings).toMatchObject({
      config_tls_address: { hostname: "127.0.0.1", port: 3001 },
      config_tls_certificate: "/c.crt",
      config_tls_key_file: "/c.key",
    });
    expect(warningsOf(loaded)).toEqual([]);
  });

  test("a key that no release requires may be missing", () => {
    expect(settingsOf("hc_interval: 2\n")).toMatchObject({
      settings: { hc_method: "HEAD", log_level: "info" },
      problems: [],
    });
  });

  test("sticky_sessions of main.yaml holds where upstreams.yaml has none", () => {
    const file = `provider: file\n${onePath(server)}`;
    expect(goodRules(file, { stickySecondsLegacy: 600 }).rules.sticky_sessions).toBe(600);
    expect(goodRules(`sticky_sessions: 30\n${file}`, { stickySecondsLegacy: 600 }).rules.sticky_sessions).toBe(30);
  });
});

interface RulesRow {
  old: string;
  text: string;
  says: string;
  code?: "legacy" | "slip";
  effect: (rules: Rules) => unknown;
  expected: unknown;
}

const header = [{ act: "set", name: "X-A", value: "b" }];
const path = (rules: Rules, key = "/") => rules.upstreams!["a.test"]!.paths[key]!;
const members = [{ address: { host: "127.0.0.1", port: 8001 }, weight: 1 }];
const consul = (...lines: string[]) =>
  `provider: consul\nconsul:\n  servers: ["http://127.0.0.1:8500"]\n  services:\n    - ${lines.join("\n      ")}\n`;

const rulesRows: RulesRow[] = [
  {
    old: "headers of a path",
    text: onePath('headers: ["X-A:b"]', server),
    says: "client_headers",
    effect: (r) => path(r).client_headers,
    expected: header,
  },
  {
    old: "headers at the top level",
    text: `headers: ["X-A:b"]\n${onePath(server)}`,
    says: "client_headers",
    effect: (r) => r.client_headers,
    expected: header,
  },
  {
    old: "headers of a discovered service",
    text: consul('hostname: "a.test"', 'upstream: "a"', 'headers: ["X-A:b"]'),
    says: "client_headers",
    effect: (r) => r.consul!.services![0]!.client_headers,
    expected: header,
  },
  {
    old: "creds",
    text: onePath('authorization: {type: basic, creds: "ann:secret"}', server),
    says: "data",
    effect: (r) => path(r).authorization,
    expected: { type: "basic", data: "ann:secret" },
  },
  {
    old: "to_ssl at the top level",
    text: `to_ssl: true\n${onePath(server)}`,
    says: "to_https",
    effect: (r) => r.to_https,
    expected: true,
  },
  {
    old: "to_ssl of a path",
    text: onePath("to_ssl: true", server),
    says: "to_https",
    effect: (r) => path(r).to_https,
    expected: true,
  },
  {
    old: "stickysessions",
    text: `stickysessions: 30\n${onePath(server)}`,
    says: "sticky_sessions",
    effect: (r) => r.sticky_sessions,
    expected: 30,
  },
  {
    old: "stickysessions: true",
    text: `stickysessions: true\n${onePath(server)}`,
    says: "sticky_sessions: 600",
    effect: (r) => r.sticky_sessions,
    expected: 600,
  },
  {
    old: "sticky_sessions: true",
    text: `sticky_sessions: true\n${onePath(server)}`,
    says: "sticky_sessions: 600",
    effect: (r) => r.sticky_sessions,
    expected: 600,
  },
  {
    old: "sticky_sessions: false",
    text: `sticky_sessions: false\n${onePath(server)}`,
    says: "sticky_sessions: 0",
    effect: (r) => r.sticky_sessions,
    expected: 0,
  },
  {
    old: "globals.headers",
    text: `globals:\n  headers: ["X-A:b"]\n${onePath(server)}`,
    says: "client_headers",
    effect: (r) => r.client_headers,
    expected: header,
  },
  {
    old: "globals.authorization as a list",
    text: `globals:\n  authorization: [apikey, "k-1234567"]\n${onePath(server)}`,
    says: "authorization",
    effect: (r) => r.authorization,
    expected: { type: "apikey", data: "k-1234567" },
  },
  {
    old: "authorization as a list",
    text: `authorization: [basic, "ann:secret"]\n${onePath(server)}`,
    says: "{type: …, data: …}",
    effect: (r) => r.authorization,
    expected: { type: "basic", data: "ann:secret" },
  },
  {
    old: "ssl: true",
    text: onePath("ssl: true", server),
    says: "protocol: https",
    effect: (r) => path(r).protocol,
    expected: "https",
  },
  {
    old: "ssl: false",
    text: onePath("ssl: false", server),
    says: "protocol: auto",
    effect: (r) => path(r).protocol,
    expected: undefined,
  },
  {
    old: "proxy of a service",
    text: consul('proxy: "a.test"', 'upstream: "a"'),
    says: "hostname",
    effect: (r) => r.consul!.services![0]!.hostname,
    expected: "a.test",
  },
  {
    old: "real of a service",
    text: consul('hostname: "a.test"', 'real: "a"'),
    says: "upstream",
    effect: (r) => r.consul!.services![0]!.upstream,
    expected: "a",
  },
  {
    old: "a host at the top level",
    text: `provider: file\na.test:\n  paths:\n    "/":\n      ${server}\n`,
    says: "upstreams",
    effect: (r) => path(r).servers,
    expected: members,
  },
  {
    old: "rate_limit among the paths",
    text: `upstreams:\n  a.test:\n    paths:\n      rate_limit: 10\n      "/":\n        ${server}\n`,
    says: "the host's",
    code: "slip",
    effect: (r) => [r.upstreams!["a.test"]!.rate_limit, Object.keys(r.upstreams!["a.test"]!.paths)],
    expected: [10, ["/"]],
  },
  {
    old: "x4xx_limit among the paths",
    text: `upstreams:\n  a.test:\n    paths:\n      x4xx_limit: 10\n      "/":\n        ${server}\n`,
    says: "the host's",
    code: "slip",
    effect: (r) => r.upstreams!["a.test"]!.x4xx_limit,
    expected: 10,
  },
  {
    old: "servers directly under a host",
    text: `upstreams:\n  a.test:\n    ${server}\n`,
    says: "path `/`",
    code: "slip",
    effect: (r) => path(r).servers,
    expected: members,
  },
  {
    old: "a path among the hosts",
    text: `upstreams:\n  "/.well-known/acme-challenge":\n    healthcheck: false\n    ${server}\n  a.test:\n    paths:\n      "/":\n        ${server}\n`,
    says: "path, not a host",
    code: "slip",
    effect: (r) => Object.keys(r.upstreams!),
    expected: ["a.test"],
  },
  {
    old: "redirect_to with servers",
    text: onePath('redirect_to: "https://b.test"', server),
    says: "servers",
    code: "slip",
    effect: (r) => path(r).redirect_to,
    expected: "https://b.test",
  },
  {
    old: "jwt without data",
    text: onePath("authorization: {type: jwt}", server),
    says: "master_key",
    code: "slip",
    effect: (r) => path(r).authorization,
    expected: { type: "jwt" },
  },
  {
    old: "an empty key",
    text: onePath("rate_limit:", server),
    says: "no value",
    code: "slip",
    effect: (r) => path(r).rate_limit,
    expected: undefined,
  },
];

describe("upstreams.yaml, every legacy key [2]", () => {
  for (const row of rulesRows) {
    test(`${row.old} works and is warned of once`, () => {
      const loaded = goodRules(row.text);
      expect(row.effect(loaded.rules)).toEqual(row.expected);
      expect(warningsOf(loaded)).toHaveLength(1);
      expect(warningsOf(loaded)[0]).toMatchObject({
        severity: "warning",
        code: row.code ?? "legacy",
        message: expect.stringContaining(row.says),
      });
    });
  }

  test("blanks after the colon of a header are trimmed, which needs no warning: it is the documented form", () => {
    const loaded = goodRules(onePath('client_headers: ["X-A:   b"]', server));
    expect(path(loaded.rules).client_headers).toEqual(header as never);
    expect(loaded.problems).toEqual([]);
  });

  test("an old key used in many places is warned of once, at the first, with their number", () => {
    const text = `upstreams:\n  a.test:\n    paths:\n      "/":\n        headers: ["X-A:b"]\n        ${server}\n      "/b":\n        headers: ["X-A:b"]\n        ${server}\n`;
    expect(warningsOf(goodRules(text))).toMatchObject([
      { line: 5, column: 9, message: "`headers` is now called `client_headers` (2 places, this is the first)" },
    ]);
  });

  test("an old key beside its successor gives way to it", () => {
    const loaded = goodRules(onePath('headers: ["X-Old:1"]', 'client_headers: ["X-A:b"]', server));
    expect(path(loaded.rules).client_headers).toEqual(header as never);
    expect(warningsOf(loaded)).toMatchObject([{ code: "legacy", message: expect.stringContaining("ignored") }]);
  });

  test("servers of a host give way to its own path `/`", () => {
    const loaded = goodRules(
      `upstreams:\n  a.test:\n    servers: ["127.0.0.9:9"]\n    paths:\n      "/":\n        ${server}\n`,
    );
    expect(path(loaded.rules).servers).toEqual(members as never);
    expect(warningsOf(loaded)).toMatchObject([{ code: "slip", message: expect.stringContaining("ignored") }]);
  });

  test("a guard without a value is an error, never no guard", () => {
    expect(goodRulesFails(onePath("authorization:", server))).toContain("expected a map, found nothing");
    expect(goodRulesFails(onePath("deny:", server))).toContain("expected a list, found nothing");
  });

  test("the master key of the settings is what a jwt without data is verified by", () => {
    expect(settings.master_key).toBe(masterKey);
  });
});

function goodRulesFails(text: string): string {
  try {
    goodRules(text);
  } catch (error) {
    return (error as Error).message;
  }
  return "it loaded";
}
