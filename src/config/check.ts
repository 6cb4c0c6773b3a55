/** Check: a tree against a shape; every issue becomes a problem at the place where it was written. */
import type { z } from "zod";
import { suggest } from "../lib/suggest.ts";
import { find, plain, type MapNode, type Node, type Path, type Span } from "./node.ts";
import { showPath } from "./problem.ts";
import type { Report } from "./report.ts";
import { list, reading, show, type ReadingContext } from "./shape.ts";

export interface CheckOptions {
  /** folder of main.yaml, and what else values are read by */
  readonly context: Omit<ReadingContext, "note">;
  /** says where a key belongs that is unknown at `path`, for example "the top level"; undefined = nowhere */
  readonly elsewhere?: (key: string, path: Path) => string | undefined;
}

/** @returns the checked value, or undefined when there was an error, which is in the report then */
export function check<S extends z.ZodType>(
  shape: S,
  root: MapNode,
  report: Report,
  options: CheckOptions,
): z.output<S> | undefined {
  const notes = new Map<string, string>();
  const context: ReadingContext = { ...options.context, note: (text, about) => notes.set(text, about) };
  const result = reading(context, () => shape.safeParse(plain(root), { reportInput: true, error: knownKeys }));
  for (const [text, about] of notes) report.add("note", "advice", placeOf(root, about), [], text);
  if (result.success) return result.data;
  new Issues(root, report, options).tell(result.error.issues);
  return undefined;
}

/** The names that an object knows travel as the message of its unrecognized_keys issue; nothing else of it survives. */
const knownKeys: z.core.$ZodErrorMap = (issue) => {
  if (issue.code !== "unrecognized_keys") return undefined;
  const shape = (issue.inst as z.ZodObject | undefined)?._zod.def.shape ?? {};
  return JSON.stringify(Object.keys(shape));
};

type Issue = z.core.$ZodIssue;

class Issues {
  /** path of a map + a key that an unknown key there probably means: that this one is missing needs no word */
  #meant = new Set<string>();

  constructor(
    readonly root: MapNode,
    readonly report: Report,
    readonly options: CheckOptions,
  ) {}

  tell(issues: readonly Issue[]): void {
    const flat = issues.flatMap((issue) => this.#flatten(issue, []));
    for (const { issue, path } of flat) if (issue.code === "unrecognized_keys") this.#unknown(issue, path);
    for (const { issue, path } of flat) if (issue.code !== "unrecognized_keys") this.#one(issue, path);
  }

  /** Takes a union apart: the branch that fits the kind of what was written tells its own issues. */
  #flatten(issue: Issue, before: Path): { issue: Issue; path: Path }[] {
    const path: Path = [...before, ...(issue.path as (string | number)[])];
    if (issue.code === "invalid_key") return issue.issues.map((inner) => ({ issue: inner, path }));
    if (issue.code !== "invalid_union" || issue.errors.length === 0) return [{ issue, path }];
    const { node } = find(this.root, path);
    const compound = node !== undefined && node.kind !== "scalar";
    const fitting = issue.errors.find(
      (branch) => !branch.some((inner) => inner.path.length === 0 && isOfOtherKind(inner, compound)),
    );
    const generic = issue.message.startsWith("expected ") ? issue.message : undefined;
    // "expected text, found 5" of one branch says less than the union's own words; "the port is missing" says more.
    const own = fitting?.length === 1 && fitting[0]!.path.length === 0 ? fitting[0]! : undefined;
    if (fitting && !(own && generic && own.message.startsWith("expected ") && own.code === "custom")) {
      return fitting.flatMap((inner) => this.#flatten(inner, path));
    }
    const message = `${generic ?? "expected another kind of value"}, found ${node ? showNode(node) : "nothing"}`;
    return [
      {
        issue: {
          code: "custom",
          path: [],
          message,
          input: issue.input,
          params: own?.code === "custom" ? own.params : undefined,
        },
        path,
      },
    ];
  }

  #unknown(issue: z.core.$ZodIssueUnrecognizedKeys, path: Path): void {
    const known = JSON.parse(issue.message) as string[];
    for (const key of issue.keys) {
      const { at, node } = find(this.root, [...path, key]);
      if (node) this.report.doubt(node.span);
      const home = this.options.elsewhere?.(key, path);
      if (home !== undefined) {
        this.report.error(
          "unknown-key",
          keySpan(this.root, path, key) ?? at,
          [...path, key],
          `\`${key}\` belongs to ${home}`,
        );
        continue;
      }
      const suggestion = suggest(key, known);
      if (suggestion !== undefined) this.#meant.add(`${showPath(path)}\n${suggestion}`);
      this.report.error("unknown-key", keySpan(this.root, path, key) ?? at, [...path, key], `unknown key \`${key}\``, {
        suggestion,
      });
    }
  }

  #one(issue: Issue, path: Path): void {
    const { node, at } = find(this.root, path);
    const key = path.at(-1);
    if (issue.code === "invalid_union" && "discriminator" in issue && issue.discriminator !== undefined) {
      return this.#wrongType(issue as { options?: readonly unknown[] }, path, node, at);
    }
    const expected = issue.code === "invalid_type" ? `expected ${kinds[issue.expected] ?? issue.expected}` : undefined;
    if (!node && key !== undefined && issue.code !== "unrecognized_keys") {
      if (this.#meant.has(`${showPath(path.slice(0, -1))}\n${key}`)) return;
      const wanted = expected ?? issue.message.replace(/, found nothing$/, "");
      return this.report.error("missing", at, path, `\`${key}\` is missing: ${wanted}`);
    }
    const words = issue.code === "custom" ? (issue.params?.words as string[] | undefined) : undefined;
    const written = node?.kind === "scalar" && typeof node.value === "string" ? node.value : undefined;
    const suggestion = words && written !== undefined ? suggest(written, words) : undefined;
    const message = expected === undefined ? issue.message : `${expected}, found ${node ? showNode(node) : "nothing"}`;
    this.report.error(node?.kind === "map" ? "conflict" : "value", at, path, message, { suggestion });
  }

  #wrongType(issue: { options?: readonly unknown[] }, path: Path, node: Node | undefined, at: Span): void {
    const words = (issue.options ?? []).map(String);
    if (!node) return this.report.error("missing", at, path, `\`${path.at(-1)}\` is missing: expected ${list(words)}`);
    const suggestion = node.kind === "scalar" ? suggest(node.written, words) : undefined;
    this.report.error("value", at, path, `expected ${list(words)}, found ${showNode(node)}`, { suggestion });
  }
}

const kinds: Record<string, string> = {
  object: "a map",
  record: "a map",
  array: "a list",
  string: "text",
  number: "a number",
  boolean: "true or false",
};

function isOfOtherKind(issue: Issue, compound: boolean): boolean {
  if (issue.code === "invalid_type") return true;
  return issue.code === "custom" && compound && /found (?:a map|a list|something else)$/.test(issue.message);
}

function showNode(node: Node): string {
  return node.kind === "scalar"
    ? node.secret
      ? "something else"
      : show(node.value)
    : node.kind === "list"
      ? "a list"
      : "a map";
}

/** Where a key itself stands; its value is beside the point when the key is wrong. */
function keySpan(root: MapNode, path: Path, key: string): Span | undefined {
  const { node } = find(root, path);
  return node?.kind === "map" ? node.entries.get(key)?.at : undefined;
}

function placeOf(node: Node, text: string): Span | undefined {
  if (node.kind === "scalar")
    return node.value === text || String(node.value).startsWith(`${text},`) ? node.span : undefined;
  const below = node.kind === "list" ? node.items : [...node.entries.values()].map((entry) => entry.value);
  for (const child of below) {
    const span = placeOf(child, text);
    if (span) return span;
  }
  return undefined;
}
