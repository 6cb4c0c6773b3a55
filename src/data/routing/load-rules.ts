/** Loads upstreams.yaml and conf.d: text → Rules, with every problem on the way. */
import { dirname, join } from "node:path";
import { check, type CheckOptions } from "../../config/check.ts";
import { readDocument } from "../../config/document.ts";
import type { MapNode } from "../../config/node.ts";
import { hasErrors, type Problem } from "../../config/problem.ts";
import { isProblem, listYamlFiles, readText, type SourceText } from "../../config/read-text.ts";
import { fileProblem, Report, Source } from "../../config/report.ts";
import { hideSecrets } from "../../config/secrets.ts";
import { settingKeys, type Settings } from "../../config/settings.ts";
import { confdFilesMax, configBytesMax } from "../../lib/limits.ts";
import { isRuleKey, rewriteHostFile, rewriteRules, unknownInHostFile } from "./legacy-rules.ts";
import {
  dropUnselected,
  inspectAuthorizations,
  inspectClientAuthorities,
  isSticky,
  remarkRules,
  selectedProviders,
} from "./remarks.ts";
import { hostsShape, ruleKeys, rulesShape, type HostRules, type Rules } from "./rules.ts";

export interface RuleSources {
  readonly main: SourceText;
  /** in the order in which they are merged */
  readonly confd: readonly SourceText[];
}

export interface GivenForRules {
  readonly settings: Settings;
  /** of main.yaml: relative file names start there */
  readonly folder: string;
  readonly env: Record<string, string | undefined>;
  /** from loadSettings: used where upstreams.yaml has no `sticky_sessions` of its own */
  readonly stickySecondsLegacy?: number | undefined;
}

export interface LoadedRules {
  /** undefined when a problem is an error */
  readonly rules: Rules | undefined;
  readonly problems: Problem[];
}

/** Pure, apart from reading the secrets, CA files and folders that the rules name. */
export function loadRules(sources: RuleSources, given: GivenForRules): LoadedRules {
  const main = new Report(new Source(sources.main.file, sources.main.text), known);
  const rules = loadMain(main, given);
  const problems = main.problems();
  const providers = rules?.provider ?? ["file"];
  const hosts: Record<string, HostRules> = { ...rules?.upstreams };
  // conf.d belongs to the provider `file`; while that is unknown its files are checked all the same.
  if (providers.includes("file")) {
    for (const source of sources.confd) {
      const report = new Report(new Source(source.file, source.text), known);
      const more = loadHostFile(report, given, hosts);
      problems.push(...report.problems());
      Object.assign(hosts, more);
    }
  }
  if (!rules || hasErrors(problems)) return { rules: undefined, problems };
  const some = Object.keys(hosts).length > 0;
  if (!some && providers.includes("file")) {
    const status = rules.unmatched_status ?? 404;
    problems.push({
      ...fileProblem(sources.main.file, `there are no hosts: every request is answered with ${status}`, "warning"),
      code: "advice",
    });
  }
  const merged: Rules = some ? { ...rules, upstreams: hosts } : rules;
  if (given.settings.master_key === undefined && isSticky(merged)) {
    const message =
      "`sticky_sessions` without `master_key` in main.yaml: cookies are signed with a key that every restart makes anew";
    problems.push({ ...fileProblem(sources.main.file, message, "warning"), code: "advice" });
  }
  return { rules: merged, problems };
}

/** Reads upstreams.yaml and `conf.d/*.yaml` beside it. Nothing is thrown: what cannot be read is a problem. */
export function readRuleFiles(settings: Pick<Settings, "upstreams_conf">): RuleSources & { problems: Problem[] } {
  const file = settings.upstreams_conf;
  const problems: Problem[] = [];
  const main = readText(file);
  if (isProblem(main)) problems.push(main);
  const folder = join(dirname(file), "conf.d");
  const names = listYamlFiles(folder);
  const confd: SourceText[] = [];
  if (isProblem(names)) problems.push(names);
  else if (names.length > confdFilesMax)
    problems.push(fileProblem(folder, `expected at most ${confdFilesMax} files, found ${names.length}`));
  else {
    let characters = 0;
    for (const name of names) {
      const read = readText(name);
      if (isProblem(read)) problems.push(read);
      else if ((characters += read.text.length) > configBytesMax) {
        problems.push(
          fileProblem(folder, `expected at most ${configBytesMax} characters in all files together, found more`),
        );
        break;
      } else confd.push(read);
    }
  }
  return { main: isProblem(main) ? { file, text: "" } : main, confd, problems };
}

function loadMain(report: Report, given: GivenForRules): Rules | undefined {
  const root = readTree(report);
  if (!root) return undefined;
  if (root.entries.size === 0) {
    if (!report.failed) report.error("file", undefined, [], "the file holds no keys, only comments");
    return undefined;
  }
  rewriteRules(root, report);
  const providers = selectedProviders(root);
  remarkRules(root, providers, report);
  if (given.stickySecondsLegacy !== undefined && !root.entries.has("sticky_sessions")) {
    const span = { start: 0, end: 0 };
    const value = {
      kind: "scalar",
      value: given.stickySecondsLegacy,
      written: String(given.stickySecondsLegacy),
      span,
    } as const;
    root.entries.set("sticky_sessions", { at: span, value });
  }
  const checked = check(rulesShape, root, report, optionsOf(given));
  if (!checked) return undefined;
  const rules: Rules = { ...checked, provider: checked.provider ?? ["file"] };
  inspectAuthorizations(rules, root, given.settings, report);
  inspectClientAuthorities(rules.upstreams ?? {}, root, given.settings, report);
  return report.failed ? undefined : dropUnselected(rules);
}

/** @returns the hosts of one file of conf.d; `before` are those of earlier files, which it may replace */
function loadHostFile(
  report: Report,
  given: GivenForRules,
  before: Record<string, HostRules>,
): Record<string, HostRules> | undefined {
  const root = readTree(report);
  if (!root) return undefined;
  const { hosts, path } = rewriteHostFile(root, report);
  for (const [key, { at, value }] of [...hosts.entries]) {
    // A lone value is no host at all; a map without `paths` is a host with something missing.
    if (path.length > 0 || value.kind === "map") continue;
    hosts.entries.delete(key);
    report.error("unknown-key", at, [key], unknownInHostFile(key));
  }
  const checked = check(hostsShape, hosts, report, optionsOf(given));
  if (!checked) return undefined;
  inspectAuthorizations({ upstreams: checked }, wrap(hosts), given.settings, report);
  inspectClientAuthorities(checked, wrap(hosts), given.settings, report);
  for (const [name, { at }] of hosts.entries) {
    if (Object.hasOwn(before, name))
      report.add("note", "advice", at, [name], `host "${name}" of this file replaces the one of an earlier file`, {
        once: "replaces",
      });
  }
  return report.failed ? undefined : checked;
}

function wrap(hosts: MapNode): MapNode {
  return { kind: "map", entries: new Map([["upstreams", { at: hosts.span, value: hosts }]]), span: hosts.span };
}

function readTree(report: Report): MapNode | undefined {
  const root = readDocument(report);
  if (root) hideSecrets(root, report, known);
  return report.broken ? undefined : root;
}

const known = new Set([
  ...Object.keys(ruleKeys),
  ...Object.keys(settingKeys),
  "upstreams",
  "paths",
  "services",
  "tokenpath",
  // Inside `healthcheck`: "path" is one letter or two from a secret's name, and none.
  "path",
]);

function optionsOf(given: GivenForRules): CheckOptions {
  return { context: { folder: given.folder, workingFolder: process.cwd(), env: given.env }, elsewhere: placeOfKey };
}

const placeNames = { U: "the top level of upstreams.yaml", H: "a host", P: "a path" } as const;

/** Says where a key belongs that stands in the wrong place; also for keys of upstreams.yaml found in main.yaml. */
export function placeOfKey(key: string): string | undefined {
  if (key === "paths") return "a host";
  if (Object.hasOwn(settingKeys, key) && !Object.hasOwn(ruleKeys, key)) return "main.yaml";
  const places = (["U", "H", "P"] as const).filter((place) => isRuleKey(key, place));
  if (places.length === 0) return undefined;
  return places.map((place) => placeNames[place]).join(" or ");
}
