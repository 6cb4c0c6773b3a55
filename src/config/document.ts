/** YAML text → a tree of nodes with positions; what is not YAML, or given twice, becomes a located error. */
import { isAlias, isMap, isScalar, isSeq, parseDocument, type ParsedNode, type YAMLMap } from "yaml";
import { yamlAliasesMax, yamlDepthMax, yamlNodesMax, yamlOpenBracketsMax } from "../lib/limits.ts";
import type { Entry, ListNode, MapNode, Node, Path, Span } from "./node.ts";
import { show } from "./shape.ts";
import type { Report } from "./report.ts";

/**
 * Reads the report's source.
 * @returns the tree, whatever else is wrong with it; undefined when the file is empty (an empty map stands for one
 * that holds only comments) or not a map. Errors are in the report; after a syntax error the tree is incomplete.
 */
export function readDocument(report: Report): MapNode | undefined {
  const text = report.source.text;
  if (text.trim() === "") {
    report.error("file", undefined, [], "the file is empty");
    return undefined;
  }
  if (openBrackets(text) > yamlOpenBracketsMax) {
    report.error("syntax", undefined, [], `expected YAML, found more than ${yamlOpenBracketsMax} open brackets`);
    return undefined;
  }
  // Keys given twice are found below: the parser's own look-up is quadratic in the number of hosts.
  const document = parseDocument(text, { uniqueKeys: false, prettyErrors: false, logLevel: "error" });
  for (const { pos, message } of [...document.errors, ...document.warnings]) {
    report.error("syntax", { start: pos[0], end: pos[1] }, [], `expected YAML: ${withoutSource(message)}`);
  }
  const contents = document.contents as ParsedNode | null;
  if (contents === null) return { kind: "map", entries: new Map(), span: { start: 0, end: 0 } };
  const root = new Builder(report).build(contents, [], 0);
  if (root?.kind === "map") return root;
  if (root && !report.failed) {
    if (root.kind === "scalar" && root.value === null) return { kind: "map", entries: new Map(), span: root.span };
    report.error(
      "value",
      root.span,
      [],
      `expected a map of keys, found ${root.kind === "list" ? "a list" : show(root.value)}`,
    );
  }
  return undefined;
}

/** The parser quotes what it found, which may be a secret: everything behind its colon, and names of tags. */
function withoutSource(message: string): string {
  return message
    .split("\n")[0]!
    .replace(/(?<=\S): .*$/, "")
    .replace(/\S*[!%]\S+/g, "…");
}

/** Counted without regard to quotes: a real file comes nowhere near the limit either way. */
function openBrackets(text: string): number {
  let open = 0;
  let most = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x5b || code === 0x7b) most = Math.max(most, ++open);
    else if (code === 0x5d || code === 0x7d) open--;
  }
  return most;
}

class Builder {
  #anchors = new Map<string, Node>();
  #nodes = 0;
  #aliases = 0;

  constructor(readonly report: Report) {}

  build(node: ParsedNode | null, path: Path, depth: number, at?: Span): Node | undefined {
    const span: Span = node ? { start: node.range[0], end: node.range[1] } : (at ?? { start: 0, end: 0 });
    if (depth > yamlDepthMax) return this.#refuse(span, path, `nested deeper than ${yamlDepthMax} levels`);
    if (++this.#nodes > yamlNodesMax)
      return this.#refuse(span, path, `the file holds more than ${yamlNodesMax} values`, "nodes");
    if (node === null) return { kind: "scalar", value: null, written: "", span };
    if (isAlias(node)) return this.#alias(node.source, span, path);
    const built = this.#compound(node, span, path, depth);
    if (built && node.anchor !== undefined) this.#anchors.set(node.anchor, built);
    return built;
  }

  #compound(
    node: Exclude<ParsedNode, { source: string; resolve: unknown }>,
    span: Span,
    path: Path,
    depth: number,
  ): Node | undefined {
    if (isMap(node)) return this.#map(node as YAMLMap.Parsed, span, path, depth);
    if (isSeq(node)) {
      const list: ListNode = { kind: "list", items: [], span };
      for (const [i, item] of node.items.entries()) {
        const built = this.build(item as ParsedNode | null, [...path, i], depth + 1, span);
        if (built) list.items.push(built);
      }
      return list;
    }
    if (!isScalar(node)) return this.#refuse(span, path, "expected text, a number, true, false, a list or a map");
    const value: unknown = node.value;
    // `data: &secret` names nothing: the text was meant to be a value.
    if (value === null && node.anchor !== undefined) this.report.partial = true;
    if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      return { kind: "scalar", value, written: node.source ?? String(value ?? ""), span };
    }
    return this.#refuse(span, path, "expected text, a number, true or false, found another YAML type");
  }

  #map(node: YAMLMap.Parsed, span: Span, path: Path, depth: number): MapNode {
    const map: MapNode = { kind: "map", entries: new Map(), span };
    const merged: Node[] = [];
    for (const pair of node.items) {
      const key = pair.key as ParsedNode | null;
      const at: Span = key ? { start: key.range[0], end: key.range[1] } : { start: span.start, end: span.start };
      if (!key || !isScalar(key) || key.value === null) {
        this.report.partial = true;
        this.report.error(
          "value",
          at,
          path,
          `expected a key that is text, found ${key ? "another kind of key" : "nothing"}`,
        );
        continue;
      }
      const name = typeof key.value === "string" ? key.value : (key.source ?? String(key.value));
      // The place of a missing value is right behind its key.
      const value = this.build(pair.value as ParsedNode | null, [...path, name], depth + 1, {
        start: at.end,
        end: at.end,
      });
      if (!value) continue;
      if (name === "__proto__") this.report.error("unknown-key", at, path, "`__proto__` cannot be a key");
      else if (name === "<<" && key.type === "PLAIN") merged.push(...(value.kind === "list" ? value.items : [value]));
      else if (map.entries.has(name)) this.#twice(name, at, map.entries.get(name)!.at, path, value);
      else map.entries.set(name, { at, value });
    }
    // YAML 1.1 merge keys, which many editors' users know: own keys win, then the first of several maps.
    for (const source of merged) {
      if (source.kind !== "map") this.report.error("value", source.span, path, "expected a map behind `<<`");
      else
        for (const [name, entry] of source.entries)
          if (!map.entries.has(name)) map.entries.set(name, this.#copyEntry(entry));
    }
    return map;
  }

  #twice(name: string, at: Span, first: Span, path: Path, value: Node): void {
    const isHost =
      path.at(-1) === "upstreams" || (path.length === 0 && value.kind === "map" && value.entries.has("paths"));
    const what = isHost ? "host" : path.at(-1) === "paths" ? "path" : "key";
    const { line } = this.report.source.locate(first.start);
    this.report.error(
      "duplicate",
      at,
      [...path, name],
      `${what} ${show(name)} is given twice, the first time in line ${line}`,
    );
  }

  #alias(name: string, span: Span, path: Path): Node | undefined {
    const target = this.#anchors.get(name);
    // Not its name: a password that begins with an asterisk looks like one.
    if (!target)
      return this.#refuse(
        span,
        path,
        "an alias without an anchor before it (text that begins with * stands in quotes)",
      );
    if (++this.#aliases > yamlAliasesMax)
      return this.#refuse(span, path, `more than ${yamlAliasesMax} aliases`, "aliases");
    // A copy each: what is rewritten under one key must not change under the other.
    return this.#copy(target, path);
  }

  #copy(node: Node, path: Path): Node | undefined {
    if (++this.#nodes > yamlNodesMax)
      return this.#refuse(node.span, path, `the file holds more than ${yamlNodesMax} values`, "nodes");
    if (node.kind === "scalar") return { ...node };
    if (node.kind === "list") return { ...node, items: node.items.flatMap((item) => this.#copy(item, path) ?? []) };
    const entries = new Map<string, Entry>();
    for (const [name, entry] of node.entries) {
      const value = this.#copy(entry.value, path);
      if (value) entries.set(name, { at: entry.at, value });
    }
    return { ...node, entries };
  }

  #copyEntry(entry: Entry): Entry {
    return { at: entry.at, value: this.#copy(entry.value, []) ?? entry.value };
  }

  #refuse(span: Span, path: Path, message: string, once?: string): undefined {
    this.report.error("syntax", span, path, message, once === undefined ? {} : { once });
    return undefined;
  }
}
