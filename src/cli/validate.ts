/** The verb `validate` (and `-t`): checks main.yaml, upstreams.yaml and conf.d, and shows every problem at once. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { loadSettings } from "../config/load-settings.ts";
import { countProblems, hasErrors, problemsAsJson, renderProblems, type Problem } from "../config/problem.ts";
import { isProblem, readText } from "../config/read-text.ts";
import { settle, type Settings } from "../config/settings.ts";
import { compileSettings } from "../control/compile-on.ts";
import { GuardState } from "../data/guards/state.ts";
import { compile } from "../data/routing/compile.ts";
import { ignoredByOriginal } from "../data/routing/ignored-by-original.ts";
import { loadRules, placeOfKey, readRuleFiles } from "../data/routing/load-rules.ts";
import type { Rules } from "../data/routing/rules.ts";
import { Ledger } from "../data/upstream/ledger.ts";
import { findConfiguration } from "./find-configuration.ts";
import { textOf, type Call } from "./verb.ts";

/** @returns 0 when nothing is an error, else 1 */
export function run(call: Call): number {
  const file = findConfiguration(textOf(call, "conf"), call.env);
  if (file === undefined) {
    console.error(
      "aralez: Cannot validate: there is no $ARALEZ_CONFIG, ./main.yaml or /etc/aralez/main.yaml; name one with -c",
    );
    return 1;
  }
  const { files, problems } = inspect(file, call.env);
  const ok = !hasErrors(problems);
  if (textOf(call, "format") === "json") {
    console.log(JSON.stringify({ ok, files, ...JSON.parse(problemsAsJson(problems)) }, null, 2));
  } else {
    const [original, ours] = [problems.filter(isOriginal), problems.filter((problem) => !isOriginal(problem))];
    if (ours.length > 0) console.log(renderProblems(ours));
    if (original.length > 0)
      console.log(`\nWhat the original would have ignored silently:\n${renderProblems(original)}`);
    console.log(
      `${problems.length > 0 ? "\n" : ""}${files.join(", ")}: ${ok ? "valid" : "not valid"} (${countProblems(ours)})`,
    );
  }
  return ok ? 0 : 1;
}

interface Inspection {
  /** every file that was read, or should have been */
  files: string[];
  problems: Problem[];
}

/** Checks all files, the later ones also when an earlier one has errors. */
export function inspect(mainFile: string, env: Call["env"]): Inspection {
  const read = readText(mainFile);
  if (isProblem(read)) return { files: [mainFile], problems: [read] };
  const loaded = loadSettings(read, env, placeOfKey);
  const folder = dirname(resolve(mainFile));
  const settings = loaded.settings ?? bestGuess(read.text, folder);
  const sources = readRuleFiles(settings);
  const { stickySecondsLegacy } = loaded;
  // A file that could not be read is one problem, not also an empty file.
  const unread = sources.problems.some((problem) => problem.file === sources.main.file);
  const checked = unread ? undefined : loadRules(sources, { settings, folder, env, stickySecondsLegacy });
  const rules = checked ? [...checked.problems, ...remarksOfCompile(checked.rules, settings, sources.main.file)] : [];
  const original = unread ? [] : ignoredByOriginal(sources.main);
  return {
    files: [mainFile, sources.main.file, ...sources.confd.map(({ file }) => file)],
    problems: [...loaded.problems, ...sources.problems, ...rules, ...original],
  };
}

/** What only compiling the rules shows: routes switched off, redirects without a TLS listener, folders that cannot be opened. */
function remarksOfCompile(rules: Rules | undefined, settings: Settings, file: string): Problem[] {
  if (!rules) return [];
  const remark = (severity: "error" | "warning", message: string): Problem => ({
    severity,
    code: severity === "error" ? "file" : "advice",
    file,
    line: 1,
    column: 1,
    path: "",
    message,
  });
  const remarks: Problem[] = [];
  try {
    compile(rules, {
      ledger: new Ledger(),
      guardState: new GuardState(),
      forwarder: () => {
        throw new Error("nothing is forwarded while a configuration is checked");
      },
      version: "",
      ...compileSettings(settings, new Uint8Array(32)),
      readCa: (name) => readFileSync(name, "utf8"),
      warn: (text) => remarks.push(remark("warning", text)),
    });
  } catch (error) {
    remarks.push(remark("error", (error as Error).message));
  }
  return remarks;
}

/** While main.yaml has errors, the rules are checked with the defaults, beside the file that it names. */
function bestGuess(text: string, folder: string): Settings {
  const named = /^upstreams_conf:\s*["']?([^"'#\n]+?)["']?\s*(?:#.*)?$/m.exec(text)?.[1];
  return settle(named === undefined ? {} : { upstreams_conf: resolve(folder, named) }, folder);
}

function isOriginal({ code }: Problem): boolean {
  return code === "original";
}
