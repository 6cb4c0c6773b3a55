/** Node: one YAML value with its place in the file, so that what is moved or renamed still knows where it was written. */

/** Offsets into the text; `end` is exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface ScalarNode {
  readonly kind: "scalar";
  readonly value: string | number | boolean | null;
  /** as it stands in the file: `0123` where `value` is 123 */
  readonly written: string;
  readonly span: Span;
  /** a secret is taken as written, and never shown */
  secret?: boolean;
}

export interface ListNode {
  readonly kind: "list";
  readonly items: Node[];
  readonly span: Span;
}

export interface MapNode {
  readonly kind: "map";
  readonly entries: Map<string, Entry>;
  readonly span: Span;
}

export type Node = ScalarNode | ListNode | MapNode;

export interface Entry {
  /** of the key */
  readonly at: Span;
  readonly value: Node;
}

export type Path = readonly (string | number)[];

/** The plain value that shapes check. */
export function plain(node: Node): unknown {
  if (node.kind === "list") return node.items.map(plain);
  if (node.kind === "scalar") return node.secret ? (node.value === null ? "" : node.written) : node.value;
  const object: Record<string, unknown> = {};
  for (const [key, entry] of node.entries) object[key] = plain(entry.value);
  return object;
}

/** The map under `key`, if there is one. */
export function mapAt(node: Node | undefined, key: string): MapNode | undefined {
  const value = node?.kind === "map" ? node.entries.get(key)?.value : undefined;
  return value?.kind === "map" ? value : undefined;
}

/** The list under `key`, if there is one. */
export function listAt(node: Node | undefined, key: string): ListNode | undefined {
  const value = node?.kind === "map" ? node.entries.get(key)?.value : undefined;
  return value?.kind === "list" ? value : undefined;
}

/** The plain scalar under `key`; undefined when there is none (or another kind of value). */
export function scalarAt(node: Node | undefined, key: string): ScalarNode["value"] | undefined {
  const value = node?.kind === "map" ? node.entries.get(key)?.value : undefined;
  return value?.kind === "scalar" ? value.value : undefined;
}

/** A scalar that stands in for what was written at `span`. */
export function scalarNode(value: string | number | boolean, span: Span): ScalarNode {
  return { kind: "scalar", value, written: String(value), span };
}

/** The part of the tree that a path leads to, as far as it exists. `at` is the best place to point at. */
export function find(root: Node, path: Path): { node: Node | undefined; at: Span } {
  let node: Node | undefined = root;
  let at: Span = { start: root.span.start, end: root.span.start };
  for (const step of path) {
    const entry: Entry | undefined = node?.kind === "map" ? node.entries.get(String(step)) : undefined;
    const next: Node | undefined = entry
      ? entry.value
      : node?.kind === "list" && typeof step === "number"
        ? node.items[step]
        : undefined;
    if (!next) return { node: undefined, at };
    // A key without a value has no place of its own; a map is best named by its key.
    at = entry && (next.kind === "map" || next.span.start === next.span.end) ? entry.at : next.span;
    node = next;
  }
  return { node, at };
}
