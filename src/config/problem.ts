/** Problem: one thing wrong or remarkable in a configuration file, and how it is shown. */

export type Severity = "error" | "warning" | "note";

/** What kind of thing it is; stable, for programs that read `--format json`. */
export type ProblemCode =
  | "file" // cannot be read at all
  | "syntax" // not YAML
  | "duplicate" // given twice
  | "unknown-key"
  | "missing"
  | "value" // wrong type, range or wording
  | "conflict" // right by itself, wrong beside something else
  | "legacy" // an older form of the original, understood; the message names its successor
  | "slip" // a slip of the original's own files, understood
  | "ignored" // accepted, without effect here
  | "advice"
  | "certificate" // a pair of certificate and key that cannot be served, or should be mended
  | "original" // what the original would have ignored
  | "more"; // stands for problems that are not shown

export interface Problem {
  readonly severity: Severity;
  readonly code: ProblemCode;
  readonly file: string;
  /** from 1 */
  readonly line: number;
  /** from 1, in UTF-16 units as editors count */
  readonly column: number;
  /** where in the document, for example `upstreams.a.test.paths["/x"].servers[0]`; "" = the whole of it */
  readonly path: string;
  readonly message: string;
  /** the word that was probably meant */
  readonly suggestion?: string;
  /** the source line and a caret below it; secrets are shown as *** */
  readonly excerpt?: string;
}

/** @returns `file:line:column: error: message`, the excerpt, and "did you mean"; several lines, no final line break. */
export function renderProblem(problem: Problem): string {
  const { file, line, column, severity, path, message, suggestion, excerpt } = problem;
  const where = path === "" ? "" : ` (${path})`;
  const hint = suggestion === undefined ? "" : `, did you mean \`${suggestion}\`?`;
  const head = visible(`${file}:${line}:${column}: ${severity}: ${message}${hint}${where}`);
  return excerpt === undefined ? head : `${head}\n${excerpt}`;
}

/** All problems as text, and a last line that counts them. "" when there are none. */
export function renderProblems(problems: readonly Problem[]): string {
  if (problems.length === 0) return "";
  return [...problems.map(renderProblem), countProblems(problems)].join("\n");
}

/** The same as JSON: `{errors, warnings, notes, problems: […]}`. */
export function problemsAsJson(problems: readonly Problem[]): string {
  return JSON.stringify(
    {
      errors: count(problems, "error"),
      warnings: count(problems, "warning"),
      notes: count(problems, "note"),
      problems,
    },
    null,
    2,
  );
}

/** "2 errors, 1 warning" */
export function countProblems(problems: readonly Problem[]): string {
  const parts = (["error", "warning", "note"] as const).flatMap((severity) => {
    const n = count(problems, severity);
    return n === 0 ? [] : [`${n} ${severity}${n === 1 ? "" : "s"}`];
  });
  return parts.length === 0 ? "no problems" : parts.join(", ");
}

export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some((problem) => problem.severity === "error");
}

function count(problems: readonly Problem[], severity: Severity): number {
  return problems.reduce((n, problem) => n + (problem.severity === severity ? 1 : 0), 0);
}

/** A file's text must not steer the terminal it is shown on. */
export function visible(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** `["upstreams", "a.test", "paths", "/x", "servers", 0]` → `upstreams.a.test.paths["/x"].servers[0]` */
export function showPath(path: readonly (string | number)[]): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/^[^\s"'[\]/]+$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}
