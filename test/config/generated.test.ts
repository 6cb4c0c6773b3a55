/** One source says what may be configured: the schemas and examples in config/ follow it. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadSettings } from "../../src/config/load-settings.ts";
import { loadRules, readRuleFiles } from "../../src/data/routing/load-rules.ts";
import { schemas, schemaText } from "../../src/data/routing/schemas.ts";

const config = join(import.meta.dir, "../../config");

describe("config/", () => {
  for (const [name, schema] of Object.entries(schemas())) {
    test(`${name} is the schema of this release (write it with: npm run schema)`, () => {
      expect(readFileSync(join(config, name), "utf8")).toBe(schemaText(schema));
    });
  }

  test("main.yaml and upstreams.yaml load without a remark, and an editor finds their schemas", () => {
    const main = loadSettings({ file: join(config, "main.yaml"), text: undefined }, {});
    expect(main.problems).toEqual([]);
    const files = readRuleFiles(main.settings!);
    const { rules, problems } = loadRules(files, { settings: main.settings!, folder: config, env: {} });
    expect([...files.problems, ...problems]).toEqual([]);
    expect(Object.keys(rules!.upstreams!)).toContain("DEFAULT");
    for (const name of ["main", "upstreams"]) {
      expect(readFileSync(join(config, `${name}.yaml`), "utf8")).toStartWith(
        `# yaml-language-server: $schema=./${name}.schema.json\n`,
      );
    }
  });
});

describe("the schemas", () => {
  const { "main.schema.json": main, "upstreams.schema.json": upstreams } = schemas() as Record<string, any>;

  test("refuse unknown keys, and describe the known ones with their defaults", () => {
    expect(main.additionalProperties).toBe(false);
    expect(main.properties.hc_interval.description).toBe("Seconds between health checks. Default: 2.");
    expect(upstreams.$defs.path.additionalProperties).toBe(false);
    expect(upstreams.$defs.path.properties.servers.minItems).toBe(1);
    expect(upstreams.$defs.host.required).toEqual(["paths"]);
    expect(upstreams.properties.retries.description).toContain("Default: 2.");
  });
  test("show hosts at the top level as deprecated, not as wrong", () => {
    expect(upstreams.additionalProperties).toMatchObject({ deprecated: true, allOf: [{ $ref: "#/$defs/host" }] });
  });
});
