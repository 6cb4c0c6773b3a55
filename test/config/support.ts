/** Loads configuration text as the program does, for the tests of this folder. */
import { loadSettings, type LoadedSettings } from "../../src/config/load-settings.ts";
import type { Problem } from "../../src/config/problem.ts";
import { loadRules, placeOfKey, type LoadedRules } from "../../src/data/routing/load-rules.ts";

/** Not there, so that relative names never depend on the machine. */
export const nowhere = "/nonexistent/aralez";
export const masterKey = "0123456789abcdef0123456789abcdef";

export function settingsOf(text: string, env: Record<string, string> = {}): LoadedSettings {
  return loadSettings({ file: `${nowhere}/main.yaml`, text }, env, placeOfKey);
}

export const settings = settingsOf(`master_key: ${masterKey}\n`).settings!;
export const settingsWithoutKey = settingsOf("log_level: info\n").settings!;

interface Given {
  confd?: Record<string, string>;
  env?: Record<string, string>;
  folder?: string;
  settings?: typeof settings;
  stickySecondsLegacy?: number;
}

export function rulesOf(text: string, given: Given = {}): LoadedRules {
  const confd = Object.entries(given.confd ?? {}).map(([file, content]) => ({ file, text: content }));
  return loadRules(
    { main: { file: "upstreams.yaml", text }, confd },
    {
      settings: given.settings ?? settings,
      folder: given.folder ?? nowhere,
      env: given.env ?? {},
      stickySecondsLegacy: given.stickySecondsLegacy,
    },
  );
}

/** The rules, or a failing test that says why not. */
export function goodRules(text: string, given: Given = {}) {
  const { rules, problems } = rulesOf(text, given);
  if (!rules) throw new Error(`expected rules, found ${problems.map((problem) => problem.message).join("; ")}`);
  return { rules, problems };
}

export function errorsOf({ problems }: { problems: Problem[] }): string[] {
  return problems
    .filter((problem) => problem.severity === "error")
    .map(({ line, column, message }) => `${line}:${column} ${message}`);
}

/** Problems that are more than a note. */
export function warningsOf({ problems }: { problems: Problem[] }): Problem[] {
  return problems.filter((problem) => problem.severity !== "note");
}

/** One host with one path around `lines`, each indented below the path. */
export function onePath(...lines: string[]): string {
  return ["upstreams:", "  a.test:", "    paths:", '      "/":', ...lines.map((line) => `        ${line}`), ""].join(
    "\n",
  );
}

export const server = 'servers: ["127.0.0.1:8001"]';
