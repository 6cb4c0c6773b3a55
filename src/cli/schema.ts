/** The verb `schema`: the JSON Schemas of the configuration files, for editors. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { schemas, schemaText } from "../data/routing/schemas.ts";
import { UsageError } from "./arguments.ts";
import { textOf, type Call } from "./verb.ts";

export function run(call: Call): number {
  const folder = textOf(call, "write");
  const all = schemas();
  if (folder === undefined) {
    if (call.operand === undefined) throw new UsageError("schema needs main or upstreams, or --write DIR", "schema");
    const schema = all[call.operand === "main" ? "main.schema.json" : "upstreams.schema.json"];
    // BUN(1.4.4): process.exit cuts what process.stdout.write still owes a pipe after 64 KiB; console.log does not owe.
    // Remove when it waits.
    console.log(schemaText(schema).trimEnd());
    return 0;
  }
  mkdirSync(folder, { recursive: true });
  for (const [name, schema] of Object.entries(all)) {
    if (call.operand !== undefined && name !== `${call.operand}.schema.json`) continue;
    writeFileSync(join(folder, name), schemaText(schema));
    console.log(`wrote ${join(folder, name)}`);
  }
  return 0;
}
