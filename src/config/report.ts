/** Report: collects the problems of one file, quotes the lines they stand in, and keeps secrets out of both. */
import { excerptCharsMax, problemsShownMax } from "../lib/limits.ts";
import type { Path, Span } from "./node.ts";
import { type Problem, type ProblemCode, type Severity, showPath, visible } from "./problem.ts";
import { isSeen, veil } from "./veil.ts";

/** A file's text with line numbers. */
export class Source {
  readonly text: string;
  #lineStarts: number[] = [0];

  constructor(
    readonly file: string,
    text: string,
  ) {
    // Editors on Windows write a byte order mark; it is no part of the first key.
    this.text = text.startsWith("\ufeff") ? text.slice(1) : text;
    for (let at = this.text.indexOf("\n"); at >= 0; at = this.text.indexOf("\n", at + 1)) this.#lineStarts.push(at + 1);
  }

  /** @returns line and column, both from 1 */
  locate(offset: number): { line: number; column: number } {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - this.#lineStarts[low]! + 1 };
  }

  /** The span of a line without its line break. @param line from 1 */
  lineSpan(line: number): Span {
    const start = this.#lineStarts[line - 1]!;
    const end = (this.#lineStarts[line] ?? this.text.length + 1) - 1;
    return { start, end: end > start && this.text[end - 1] === "\r" ? end - 1 : end };
  }
}

interface Found {
  severity: Severity;
  code: ProblemCode;
  at: Span;
  path: Path;
  message: string;
  suggestion: string | undefined;
  /** how often, for problems that are told once */
  times: number;
}

export interface More {
  suggestion?: string | undefined;
  /** problems of the same id in one file are told once, at the first place, with their number */
  once?: string;
}

const noKeys: ReadonlySet<string> = new Set();
const topOfFile: Span = { start: 0, end: 0 };

export class Report {
  readonly source: Source;
  #found: Found[] = [];
  #once = new Map<string, Found>();
  #hidden: Span[] = [];
  #hiddenTexts = new Set<string>();
  #broken = false;
  #doubted: Span[] = [];
  /** The tree lacks something that was written, so that a secret in it may not have been found. */
  partial = false;

  /** @param known keys of such a file: they may be seen wherever they stand */
  constructor(
    source: Source,
    readonly known: ReadonlySet<string> = noKeys,
  ) {
    this.source = source;
  }

  add(severity: Severity, code: ProblemCode, at: Span | undefined, path: Path, message: string, more: More = {}): void {
    const known = more.once === undefined ? undefined : this.#once.get(more.once);
    if (known) {
      known.times++;
      return;
    }
    if (code === "syntax") this.#broken = true;
    if (code === "syntax" || code === "duplicate") this.partial = true;
    const found = { severity, code, at: at ?? topOfFile, path, message, suggestion: more.suggestion, times: 1 };
    this.#found.push(found);
    if (more.once !== undefined) this.#once.set(more.once, found);
  }

  error(code: ProblemCode, at: Span | undefined, path: Path, message: string, more?: More): void {
    this.add("error", code, at, path, message, more);
  }

  get failed(): boolean {
    return this.#found.some((found) => found.severity === "error");
  }

  /** There was a syntax error: the tree is incomplete, and further errors would be guesses. */
  get broken(): boolean {
    return this.#broken;
  }

  /** What stands at `span` is a secret: neither quoted lines nor messages show it. */
  hide(span: Span, text: string): void {
    this.#hidden.push(span);
    // Shorter texts would blot out ordinary words; their own place is covered by the span.
    if (text.length >= 4) this.#hiddenTexts.add(text);
  }

  /** The same for the rest of the line behind `span`: a value that is missing may stand there as a comment. */
  hideBehind({ start, end }: Span): void {
    this.#hidden.push({ start: end, end: this.source.lineSpan(this.source.locate(start).line).end });
  }

  /** What stands at `span` belongs to a key that nobody knows: of a line, only what is certainly no secret is quoted. */
  doubt(span: Span): void {
    this.#doubted.push(span);
  }

  /** Every problem in the order of the file; beyond {@link problemsShownMax} the errors come first and the rest is counted. */
  problems(): Problem[] {
    const sorted = this.#found.toSorted((a, b) => a.at.start - b.at.start);
    let shown = sorted;
    let rest: Found[] = [];
    if (sorted.length > problemsShownMax) {
      const rank = { error: 0, warning: 1, note: 2 };
      const byWeight = sorted.toSorted((a, b) => rank[a.severity] - rank[b.severity]);
      const kept = new Set(byWeight.slice(0, problemsShownMax));
      shown = sorted.filter((found) => kept.has(found));
      rest = byWeight.slice(problemsShownMax);
    }
    const problems = shown.map((found) => this.#show(found));
    if (rest.length > 0) problems.push(moreProblems(rest, this.source.file));
    return problems;
  }

  #show({ severity, code, at, path, message, suggestion, times }: Found): Problem {
    const { line, column } = this.source.locate(at.start);
    const often = times > 1 ? ` (${times} places, this is the first)` : "";
    return {
      severity,
      code,
      file: this.source.file,
      line,
      column,
      path: this.#mask(showPath(path.map((step) => (typeof step === "string" ? this.#step(step) : step)))),
      message: this.#mask(message) + often,
      ...(suggestion !== undefined && { suggestion }),
      ...(this.source.text !== "" && { excerpt: this.#excerpt(line, column) }),
    };
  }

  #step(key: string): string {
    return this.partial && !isSeen(key, this.known) ? "***" : this.#mask(key);
  }

  #mask(text: string): string {
    for (const secret of this.#hiddenTexts) if (text.includes(secret)) text = text.replaceAll(secret, "***");
    return text;
  }

  #excerpt(line: number, column: number): string {
    const { start, end } = this.source.lineSpan(line);
    const text = this.source.text.slice(start, end);
    const ranges = this.#hiddenIn(text, start, end);
    let shown = "";
    let caret = -1;
    let from = 0;
    for (const range of [...ranges, { start: text.length, end: text.length }]) {
      if (caret < 0 && column - 1 < range.start) caret = shown.length + Math.max(0, column - 1 - from);
      shown += text.slice(from, range.start);
      if (range.end > range.start) {
        if (caret < 0 && column - 1 < range.end) caret = shown.length;
        shown += "***";
      }
      from = range.end;
    }
    if (caret < 0) caret = shown.length;
    if (shown.length > excerptCharsMax) {
      const cut = Math.max(0, Math.min(caret - (excerptCharsMax >> 1), shown.length - excerptCharsMax));
      const tail = cut + excerptCharsMax < shown.length ? "…" : "";
      shown = (cut > 0 ? "…" : "") + shown.slice(cut, cut + excerptCharsMax) + tail;
      caret = caret - cut + (cut > 0 ? 1 : 0);
    }
    const gutter = `${line} | `;
    return `${gutter}${visible(shown.replaceAll("\t", " "))}\n${" ".repeat(gutter.length - 2)}| ${" ".repeat(caret)}^`;
  }

  /** The parts of a line that must not be seen, in order, none overlapping, relative to the line. */
  #hiddenIn(text: string, start: number, end: number): Span[] {
    const ranges: { start: number; end: number }[] = [];
    for (const span of this.#hidden) {
      if (span.start < end && span.end > start)
        ranges.push({ start: Math.max(0, span.start - start), end: Math.min(text.length, span.end - start) });
    }
    for (const secret of this.#hiddenTexts) {
      for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + secret.length))
        ranges.push({ start: at, end: at + secret.length });
    }
    if (this.partial) {
      ranges.push(...veil(text, this.known));
      // Whatever follows such a key on its line: not even its marks are for anybody.
      const key = secretKeyInText.exec(text);
      if (key) ranges.push({ start: key.index + key[0].length, end: text.length });
    }
    for (const span of this.#doubted) {
      if (span.start >= end || span.end <= start) continue;
      const from = Math.max(0, span.start - start);
      for (const { start: at, end: to } of veil(text.slice(from, Math.max(0, span.end - start)), this.known))
        ranges.push({ start: from + at, end: from + to });
    }
    ranges.sort((a, b) => a.start - b.start);
    const merged: { start: number; end: number }[] = [];
    for (const range of ranges) {
      const last = merged.at(-1);
      if (last && range.start <= last.end) last.end = Math.max(last.end, range.end);
      else if (range.end > range.start) merged.push({ ...range });
    }
    return merged;
  }
}

const secretKeyInText =
  /\b(?:master_key|data|creds|token|hmac_key|password|secret|users|keys|authorization)["']?\s*:\s*/;

function moreProblems(rest: readonly Found[], file: string): Problem {
  const errors = rest.filter((found) => found.severity === "error").length;
  const severity = errors > 0 ? "error" : rest.some((found) => found.severity === "warning") ? "warning" : "note";
  const message = `${rest.length} more problems are not shown${errors > 0 ? `, ${errors} of them errors` : ""}`;
  return { severity, code: "more", file, line: 1, column: 1, path: "", message };
}

/** A problem of a file as a whole, such as one that cannot be read. */
export function fileProblem(file: string, message: string, severity: Severity = "error"): Problem {
  return { severity, code: "file", file, line: 1, column: 1, path: "", message };
}
