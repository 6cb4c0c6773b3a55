/** JSON Schema of a shape, for editors: made from the same shapes that check the files. */
import { z } from "zod";
import type { About, ShapeMeta } from "./shape.ts";

export type JsonSchema = Record<string, unknown>;

/**
 * @param shape what to describe: strict objects, records, lists, unions, literals, and our own scalars
 * @param named shapes that get an entry of their own in `$defs`, by the name to use
 */
export function jsonSchemaOf(shape: z.ZodType, named: Record<string, z.ZodType> = {}): JsonSchema {
  const names = new Map(Object.entries(named).map(([name, known]) => [known, name]));
  const schema = describe(shape, names);
  const entries = Object.entries(named).map(([name, known]) => [name, describe(known, names, known)]);
  return entries.length === 0 ? schema : { ...schema, $defs: Object.fromEntries(entries) };
}

type Def = z.core.$ZodTypes["_zod"]["def"];

/** @param inside the named shape that is being written out, which must not refer to itself */
function describe(shape: z.ZodType, names: Map<z.ZodType, string>, inside?: z.ZodType): JsonSchema {
  const name = shape === inside ? undefined : names.get(shape);
  if (name !== undefined) return { $ref: `#/$defs/${name}` };
  const meta = metaOf(shape);
  if (meta.json) return meta.json;
  const def = shape._zod.def as Def;
  const below = (inner: z.core.$ZodType) => describe(inner as z.ZodType, names, inside);
  switch (def.type) {
    case "optional":
      return { ...below(def.innerType), ...documented(meta) };
    case "pipe":
      return below(def.in);
    case "object": {
      const properties = Object.fromEntries(Object.entries(def.shape).map(([key, inner]) => [key, below(inner)]));
      const required = Object.entries(def.shape)
        .filter(([, inner]) => !isOptional(inner))
        .map(([key]) => key);
      return { type: "object", properties, additionalProperties: false, ...(required.length > 0 && { required }) };
    }
    case "record":
      return { type: "object", additionalProperties: below(def.valueType) };
    case "array":
      return { type: "array", items: below(def.element), ...(hasItems(shape) && { minItems: 1 }) };
    case "union":
      return { anyOf: def.options.map(below) };
    case "literal":
      return { enum: [...def.values] };
    case "string":
      return { type: "string" };
    case "unknown":
      return {};
    default:
      throw new Error(`cannot describe a shape of type "${def.type}": expected one that the configuration uses`);
  }
}

interface KeyMeta extends ShapeMeta {
  readonly about?: About;
}

export function metaOf(shape: z.ZodType): KeyMeta {
  return (z.globalRegistry.get(shape) ?? {}) as KeyMeta;
}

/** An optional field says so itself; a scalar of ours accepts "nothing" only to word the error, so it is required. */
function isOptional(shape: z.core.$ZodType): boolean {
  return (shape._zod.def as Def).type === "optional";
}

function hasItems(shape: z.ZodType): boolean {
  const checks: readonly z.core.$ZodCheck[] = shape._zod.def.checks ?? [];
  return checks.some(
    ({ _zod: { def } }) => def.check === "min_length" && (def as z.core.$ZodCheckMinLengthDef).minimum === 1,
  );
}

function documented({ about }: KeyMeta): JsonSchema {
  if (!about) return {};
  const parts = [
    about.doc,
    about.default === "" ? "" : `Default: ${about.default}.`,
    about.ignored ? "No effect here." : "",
  ];
  return {
    description: parts.filter((part) => part !== "").join(" "),
    ...((about.ignored || about.legacy) && { deprecated: true }),
  };
}
