/** The verb `init`: a folder with a commented, working configuration, from the project's own example files. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import mainExample from "../../config/main.yaml" with { type: "text" };
import upstreamsExample from "../../config/upstreams.yaml" with { type: "text" };
import { schemas, schemaText } from "../data/routing/schemas.ts";
import type { Call } from "./verb.ts";

export function run({ operand }: Call): number {
  const folder = operand!;
  const files: [name: string, text: string, mode: number][] = [
    ["main.yaml", withKey(mainExample as string, randomKey()), 0o600],
    ["upstreams.yaml", upstreamsExample as string, 0o644],
    ...Object.entries(schemas()).map(([name, schema]): [string, string, number] => [name, schemaText(schema), 0o644]),
  ];
  const there = files.map(([name]) => join(folder, name)).filter((file) => existsSync(file));
  if (there.length > 0) {
    console.error(
      `aralez: Cannot write a configuration into "${folder}": nothing is overwritten, found ${there.join(", ")}`,
    );
    return 1;
  }
  mkdirSync(folder, { recursive: true });
  // "wx": also a file that appeared since the look above stays as it is.
  for (const [name, text, mode] of files) writeFileSync(join(folder, name), text, { mode, flag: "wx" });
  const main = join(folder, "main.yaml");
  console.log(`wrote ${files.map(([name]) => join(folder, name)).join(", ")}

Next:
  1. Say in ${join(folder, "upstreams.yaml")} where your servers are (as written: 127.0.0.1:8001 and 8002).
  2. aralez validate -c ${main}
  3. aralez -c ${main}
Saving upstreams.yaml applies it at once. ${main} holds a secret, so only you can read it.`);
  return 0;
}

/** 256 bits: more than any signature made with it needs. */
function randomKey(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
}

/** Puts the key where the example talks about it. */
function withKey(text: string, key: string): string {
  const lines = text.split("\n");
  const at = lines.findLastIndex((line) => /^#\s*master_key:/.test(line));
  const line = `# Made at random by \`aralez init\` for this folder alone:\nmaster_key: "${key}"`;
  return lines.toSpliced(at < 0 ? lines.length : at + 1, 0, line).join("\n");
}
