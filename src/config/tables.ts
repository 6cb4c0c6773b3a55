/** Key tables for the README, made from the same declarations that check the files. */
import { z } from "zod";
import { metaOf } from "./schema.ts";
import type { About, Keys } from "./shape.ts";

/**
 * A Markdown table of the keys that stand at one of `places`, and below it the ones that are only accepted.
 * @param places for example "M", or "UHP"; with more than one the table says which key stands where
 */
export function keyTable(keys: Keys, places: string): string {
  const here = Object.entries(keys).filter(([, key]) => [...places].some((place) => key.places.includes(place)));
  const several = places.length > 1;
  const head = ["key", ...(several ? ["place"] : []), "value", "default", "meaning"];
  const rows = here
    .filter(([, { about }]) => !about.ignored && !about.legacy)
    .map(([name, { places: at, shape, about }]) => {
      const marks = about.reloads ? " ⟳" : "";
      const meaning = about.doc;
      return [
        `\`${name}\`${marks}`,
        ...(several ? [[...at].filter((place) => places.includes(place)).join(" ")] : []),
        expectedOf(shape),
        about.default,
        meaning,
      ];
    });
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.map(cell).join(" | ")} |`);
  const named = (wanted: (about: About) => boolean | undefined) =>
    here.filter(([, { about }]) => wanted(about)).map(([name]) => `\`${name}\``);
  const old = named(({ ignored, legacy }) => legacy && !ignored);
  if (old.length > 0) lines.push("", `Read for the sake of old files: ${old.join(", ")}.`);
  const accepted = named(({ ignored }) => ignored);
  if (accepted.length > 0)
    lines.push("", `Accepted for the sake of old files, without effect: ${accepted.join(", ")}.`);
  return lines.join("\n");
}

/**
 * Puts tables between the markers `<!-- keys:NAME -->` and `<!-- /keys:NAME -->`.
 * @throws Error that names a marker that is missing
 */
export function fillMarkers(text: string, tables: Record<string, string>): string {
  for (const [name, table] of Object.entries(tables)) {
    const [open, close] = [`<!-- keys:${name} -->`, `<!-- /keys:${name} -->`];
    const start = text.indexOf(open);
    const end = text.indexOf(close, start);
    if (start < 0 || end < 0)
      throw new Error(
        `Cannot fill the key table "${name}": expected the markers ${open} and ${close}, found ${start < 0 ? "none" : "only the first"}`,
      );
    text = `${text.slice(0, start + open.length)}\n\n${table}\n\n${text.slice(end)}`;
  }
  return text;
}

/** What may be written, in a few words. */
export function expectedOf(shape: z.ZodType): string {
  const { expected } = metaOf(shape);
  if (expected !== undefined) return expected;
  const def = shape._zod.def as z.core.$ZodTypes["_zod"]["def"];
  const below = (inner: z.core.$ZodType) => expectedOf(inner as z.ZodType);
  switch (def.type) {
    case "optional":
      return below(def.innerType);
    case "pipe":
      return below(def.in);
    case "array":
      return `list: ${below(def.element)}`;
    case "object":
      return `map: ${Object.keys(def.shape).join(", ")}`;
    case "union":
      return "discriminator" in def ? `map with \`${String(def.discriminator)}\`` : def.options.map(below).join(" or ");
    default:
      return "anything";
  }
}

/** One line, no bars: a cell of a Markdown table. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
