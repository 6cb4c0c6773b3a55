/** The JSON Schemas of both configuration files, as committed in config/. */
import { jsonSchemaOf, type JsonSchema } from "../../config/schema.ts";
import { secret } from "../../config/shape.ts";
import { settingsShape } from "../../config/settings.ts";
import { authorization } from "../guards/authorization/rules.ts";
import { hostShape, pathShape, rulesShape } from "./rules.ts";

const draft = { $schema: "http://json-schema.org/draft-07/schema#" };

export function settingsSchema(): JsonSchema {
  return { ...draft, title: "main.yaml of Aralez on Bun", ...jsonSchemaOf(settingsShape, { secret }) };
}

/** Hosts at the top level still load, so an editor shows them as deprecated, not as wrong. */
export function ruleSchema(): JsonSchema {
  const schema = jsonSchemaOf(rulesShape, { host: hostShape, path: pathShape, authorization, secret });
  const looseHost = {
    allOf: [{ $ref: "#/$defs/host" }],
    deprecated: true,
    description: "Put hosts under `upstreams`.",
  };
  return { ...draft, title: "upstreams.yaml of Aralez on Bun", ...schema, additionalProperties: looseHost };
}

/** File name → schema. */
export function schemas(): Record<"main.schema.json" | "upstreams.schema.json", JsonSchema> {
  return { "main.schema.json": settingsSchema(), "upstreams.schema.json": ruleSchema() };
}

/** The exact text of a committed schema file. */
export function schemaText(schema: JsonSchema): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}
