/** The configurations of the origin and the contenders as text, with example ports and folders: to read and to publish. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { certificateFiles } from "./certificate.ts";
import type { Plan } from "./contenders/contender.ts";
import { contenders, usual, type ContenderName } from "./contenders/index.ts";
import { planOrigin } from "./origin.ts";

interface Named extends Plan {
  readonly name: string;
}

/**
 * Those in `bench/configs/`: who stands in the tables, in clear and with TLS. The variants of Aralez differ by single
 * lines, and so does nginx-large with TLS.
 */
const published: readonly ContenderName[] = [...usual, "nginx-large"];

export const publishedFolder = join(import.meta.dir, "configs");

/** What is printed for `--show-config`. */
export function showConfigurations(
  names: readonly ContenderName[],
  tlsNames: readonly ContenderName[],
  tree: string,
  baseline: string | undefined,
): string {
  return [...plansOf(names, tree, baseline, false), ...plansOf(tlsNames, tree, baseline, true)]
    .flatMap(({ name, command, files }) => [
      `##### ${name}: ${command.join(" ")}`,
      ...Object.entries(files).map(([file, content]) => `### ${name}/${file}\n${content}`),
    ])
    .join("\n");
}

/** File name below `bench/configs/` → content. */
export function publishedConfigurations(): Map<string, string> {
  const tree = "/opt/aralez";
  const plans = [...plansOf(published, tree, undefined, false), ...plansOf(usual, tree, undefined, true)];
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

function plansOf(
  names: readonly ContenderName[],
  tree: string,
  baseline: string | undefined,
  withTls: boolean,
): Named[] {
  const folderOf = (name: string) => `/tmp/aralez-bench/${name}`;
  const plans = names.map((contender, i) => {
    const name = withTls ? `${contender}-tls` : contender;
    const tls = withTls && { tls: { ...certificateFiles(folderOf("tls")), h2cPort: 8002, plainPort: 8080 + i } };
    const ports = { port: (withTls ? 8440 : 8010) + i, originPort: 8000, echoPort: 8001 };
    return { name, ...contenders[contender].plan({ folder: folderOf(name), ...ports, ...tls, tree, baseline }) };
  });
  if (withTls) return plans;
  return [{ name: "origin", ...planOrigin(folderOf("origin"), 8000) }, ...plans];
}
