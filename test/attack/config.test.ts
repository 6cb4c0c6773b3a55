/** Half-written and odd configuration: a located error, never a fault, never a secret, never a route that always fails. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, temporaryFolder } from "../cli/program.ts";

async function validate(rules: string) {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "main.yaml"), "upstreams_conf: upstreams.yaml\nproxy_address_http: 127.0.0.1:8080\n");
  writeFileSync(join(folder.path, "upstreams.yaml"), rules);
  const { code, out, err } = await run(["validate", "-c", join(folder.path, "main.yaml")]);
  return { code, out, err };
}

describe("a path without a map", () => {
  for (const [name, value] of [
    ["nothing", ""],
    ["a text", " 127.0.0.1:80"],
    ["a number", " 80"],
    ["a list", " [a]"],
  ]) {
    test(`but ${name} is an error at its line`, async () => {
      const { code, out, err } = await validate(`upstreams:\n  a.test:\n    paths:\n      "/":${value}\n`);
      expect(err).toBe("");
      expect(code).toBe(1);
      expect(out).toMatch(/upstreams\.yaml:4:\d+: error: .*expected a map/);
    });
  }
});

describe("a header value that cannot be sent", () => {
  for (const [key, item] of [
    ["client_headers", "X-Snow: ☃"],
    ["server_headers", "X-Snow: ☃"],
    ["server_headers", "Host: a b/"],
    ["server_headers", "Host: ☃"],
  ]) {
    test(`is refused at load, not at each request: ${key} ${item}`, async () => {
      const { code, out } = await validate(
        `upstreams:\n  a.test:\n    paths:\n      "/":\n        servers: ["127.0.0.1:80"]\n        ${key}: ["${item}"]\n`,
      );
      expect(out).toMatch(/upstreams\.yaml:6:\d+: error: /);
      expect(code).toBe(1);
    });
  }
});

describe("messages", () => {
  const path = (line: string) =>
    `upstreams:\n  a.test:\n    paths:\n      "/":\n        servers: ["127.0.0.1:80"]\n        ${line}\n`;
  for (const item of ["Authorization Bearer TOPSECRET", "Authorization: Bearer TOPSECRET\\x01"]) {
    test(`do not show the credentials of a header item: ${item}`, async () => {
      const { code, out, err } = await validate(path(`server_headers: ["${item}"]`));
      expect(code).toBe(1);
      expect(out + err).not.toContain("TOPSECRET");
    });
  }
  test("show the path of a health check: it is no secret", async () => {
    expect((await validate(path("healthcheck: {path: nope}"))).out).toContain('found "nope"');
  });
});
