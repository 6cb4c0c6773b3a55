/** The configurations of the origin and the contenders as text, with example ports and folders: to read and to publish. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Plan } from "./contenders/contender.ts";
import { contenders, usual, type ContenderName } from "./contenders/index.ts";
import { planOrigin } from "./origin.ts";

interface Named extends Plan {
  readonly name: string;
}

/** Those in `bench/configs/`: who stands in the tables. The variants of Aralez differ by single lines. */
const published: readonly ContenderName[] = [...usual, "nginx-large"];

export const publishedFolder = join(import.meta.dir, "configs");

/** What is printed for `--show-config`. */
export function showConfigurations(
  names: readonly ContenderName[],
  tree: string,
  baseline: string | undefined,
): string {
  return plansOf(names, tree, baseline)
    .flatMap(({ name, command, files }) => [
      `##### ${name}: ${command.join(" ")}`,
      ...Object.entries(files).map(([file, content]) => `### ${name}/${file}\n${content}`),
    ])
    .join("\n");
}

/** File name below `bench/configs/` → content. */
export function publishedConfigurations(): Map<string, string> {
  const plans = plansOf(published, "/opt/aralez", undefined);
  return new Map(
    plans.flatMap(({ name, files }) =>
      Object.entries(files).map(([file, content]) => [`${name}/${file}`, withoutUser(content)] as const),
    ),
  );
}

/** nginx's line that depends on who asks. */
function withoutUser(content: string): string {
  return content.replace(/^user root;\n/, "");
}

export function writeConfigurations(): void {
  rmSync(publishedFolder, { recursive: true, force: true });
  for (const [file, content] of publishedConfigurations()) {
    const path = join(publishedFolder, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
}

function plansOf(names: readonly ContenderName[], tree: string, baseline: string | undefined): Named[] {
  const folderOf = (name: string) => `/tmp/aralez-bench/${name}`;
  const plans = names.map((name, i) => {
    const place = { folder: folderOf(name), port: 8010 + i, originPort: 8000, echoPort: 8001, tree, baseline };
    return { name, ...contenders[name].plan(place) };
  });
  return [{ name: "origin", ...planOrigin(folderOf("origin"), 8000) }, ...plans];
}
