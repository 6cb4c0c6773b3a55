/** The configurations of the origin and the contenders as text, with example ports and folders: to read and to publish. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { certificateFiles } from "./certificate.ts";
import type { Plan } from "./contenders/contender.ts";
import { contenders, usual, type ContenderName } from "./contenders/index.ts";
import { planOrigin } from "./origin.ts";
import type { UserContender } from "./user/contender.ts";
import { isUserContender, userContenders, type UserContenderName } from "./user/contenders.ts";
import { planUserOrigin } from "./user/origin.ts";
import { serverName } from "./user/work.ts";

interface Named extends Plan {
  readonly name: string;
}

/**
 * Those in `bench/configs/`: who stands in the tables, in clear and with TLS, and those of the user's benchmark. The
 * variants of Aralez differ by single lines, and so does nginx-large with TLS.
 */
const published: readonly ContenderName[] = [...usual, "nginx-large"];

export const publishedFolder = join(import.meta.dir, "configs");

/** Contenders of the scenarios in clear, of those with TLS, and of the user's benchmark. */
export interface Shown {
  readonly clear: readonly ContenderName[];
  readonly tls: readonly ContenderName[];
  readonly user: readonly UserContenderName[];
}

/** What is printed for `--show-config`. */
export function showConfigurations({ clear, tls, user }: Shown, tree: string, baseline: string | undefined): string {
  const usual = [
    ...(clear.length > 0 ? plansOf(clear, tree, baseline, false) : []),
    ...(tls.length > 0 ? plansOf(tls, tree, baseline, true) : []),
  ];
  return [...usual, ...(user.length > 0 ? userPlansOf(user, tree) : [])]
    .flatMap(({ name, command, files }) => [
      `##### ${name}: ${command.join(" ")}`,
      ...Object.entries(files).map(([file, content]) => `### ${name}/${file}\n${content}`),
    ])
    .join("\n");
}

/** File name below `bench/configs/` → content. */
export function publishedConfigurations(): Map<string, string> {
  const tree = "/opt/aralez";
  const user = Object.keys(userContenders).filter(isUserContender);
  const plans = [
    ...plansOf(published, tree, undefined, false),
    ...plansOf(usual, tree, undefined, true),
    ...userPlansOf(user, tree),
  ];
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

/** With one worker each. */
function userPlansOf(names: readonly UserContenderName[], tree: string): Named[] {
  const folderOf = (name: string) => `/tmp/aralez-bench/${name}`;
  const serverPorts = [8101, 8102, 8103];
  const origins = serverPorts.map((port, i) => {
    const name = `user-${serverName(i)}`;
    return { name, ...planUserOrigin(folderOf(name), port, serverName(i)) };
  });
  const plans = names.map((contender, i) => {
    const name = `user-${contender}`;
    const ports = { plainPort: 8110 + i, tlsPort: 8450 + i, adminPort: 8130 + i, serverPorts };
    const certificate = certificateFiles("/tmp/aralez-bench/tls/certificates");
    const binary = join(tree, "dist/aralez-x86_64-glibc");
    const place = { folder: folderOf(name), ...ports, certificate, workers: 1, binary };
    return { name, ...(userContenders[contender] as UserContender).plan(place) };
  });
  return [...origins, ...plans];
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
