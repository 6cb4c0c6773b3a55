/** Loads main.yaml: text → Settings, with every problem on the way. */
import { dirname, resolve } from "node:path";
import { check, type CheckOptions } from "./check.ts";
import { readDocument } from "./document.ts";
import { dropEmpty, legacy, rewriteSettings } from "./legacy.ts";
import type { MapNode } from "./node.ts";
import type { Problem } from "./problem.ts";
import { isProblem, readText } from "./read-text.ts";
import { Report, Source } from "./report.ts";
import { hideSecrets } from "./secrets.ts";
import { settingKeys, settingsShape, settle, type Settings } from "./settings.ts";
import type { About } from "./shape.ts";

export interface LoadedSettings {
  /** undefined when a problem is an error */
  readonly settings: Settings | undefined;
  readonly problems: Problem[];
  /** `sticky_sessions` of a main.yaml of 2025, for upstreams.yaml when that has none: 600, or 0 for off */
  readonly stickySecondsLegacy?: number;
}

/**
 * @param source `text` undefined: read the file
 * @param env JWT_KEY wins over `master_key`; `{env: NAME}` reads from it
 * @param elsewhere says where a key belongs that main.yaml does not know (see rulePlaces)
 */
export function loadSettings(
  source: { file: string; text: string | undefined },
  env: Record<string, string | undefined>,
  elsewhere?: CheckOptions["elsewhere"],
): LoadedSettings {
  const read = source.text === undefined ? readText(source.file) : { file: source.file, text: source.text };
  if (isProblem(read)) return { settings: undefined, problems: [read] };
  const report = new Report(new Source(read.file, read.text), known);
  const root = readDocument(report);
  if (!root) return { settings: undefined, problems: report.problems() };
  hideSecrets(root, report, known);
  if (report.broken) return { settings: undefined, problems: report.problems() };

  const old = rewriteSettings(root, report);
  dropEmpty(root, report, [], (key) => known.has(key));
  const masterKey = keyFromEnvironment(root, report, env);
  remark(root, report);
  const folder = dirname(resolve(read.file));
  const written = check(settingsShape, root, report, {
    context: { folder, workingFolder: process.cwd(), env },
    ...(elsewhere && { elsewhere }),
  });
  const settings =
    written && !report.failed
      ? settle(masterKey === undefined ? written : { ...written, master_key: masterKey }, folder)
      : undefined;
  return {
    settings,
    problems: report.problems(),
    ...(old.stickySeconds !== undefined && { stickySecondsLegacy: old.stickySeconds }),
  };
}

const abouts: Record<string, About> = Object.fromEntries(
  Object.entries(settingKeys).map(([name, { about }]) => [name, about]),
);
const known = new Set(Object.keys(settingKeys));

/** The original's variable: it wins, so what the file says is not even looked at. */
function keyFromEnvironment(
  root: MapNode,
  report: Report,
  env: Record<string, string | undefined>,
): string | undefined {
  const value = env.JWT_KEY;
  if (value === undefined || value === "") return undefined;
  const entry = root.entries.get("master_key");
  const reference = entry?.value.kind === "map" ? entry.value.entries.get("env")?.value : undefined;
  const says = reference?.kind === "scalar" && reference.value === "JWT_KEY";
  if (!says) {
    const wins = entry ? " and wins over `master_key`" : "";
    legacy(
      report,
      entry?.at ?? root.span,
      ["master_key"],
      "JWT_KEY",
      `the environment variable JWT_KEY is set${wins}: write \`master_key: {env: JWT_KEY}\``,
    );
  }
  root.entries.delete("master_key");
  return value;
}

/** Names the keys without effect: Pingora's, and those not offered yet. */
function remark(root: MapNode, report: Report): void {
  for (const [key, { at }] of root.entries) {
    const about = abouts[key];
    if (about?.ignored)
      report.add(
        about.wanted ? "warning" : "note",
        "ignored",
        at,
        [key],
        `\`${key}\` has no effect here. ${about.doc}`,
      );
  }
}
