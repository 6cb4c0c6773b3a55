/** Encodings: precompressed neighbours of a file (`app.js.br` beside `app.js`), chosen by Accept-Encoding. */

/** In order of preference where the client has none. */
export const encodings = [
  { coding: "br", suffix: ".br" },
  { coding: "zstd", suffix: ".zst" },
  { coding: "gzip", suffix: ".gz" },
] as const;

export type Encoding = (typeof encodings)[number];

/**
 * Orders what the client takes, best first; the file as it is comes after them and is always allowed.
 * @param field Accept-Encoding; undefined = the client says nothing, which gets the file as it is
 * @param offered the neighbours that exist
 */
export function acceptable(field: string | undefined, offered: readonly Encoding[]): readonly Encoding[] {
  if (field === undefined || offered.length === 0) return [];
  const weights = readWeights(field);
  const rest = weights.get("*");
  // The plain file is the last resort, unless the client itself ranks it.
  const plain = weights.get("identity") ?? 0;
  const weight = ({ coding }: Encoding): number => weights.get(coding) ?? rest ?? 0;
  return offered.filter((e) => weight(e) > 0 && weight(e) >= plain).sort((a, b) => weight(b) - weight(a));
}

/** RFC 9110 12.4.2 and 12.5.3. A weight that does not read as one refuses its coding. */
function readWeights(field: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const item of field.split(",")) {
    const [name = "", ...parameters] = item.split(";");
    const coding = name.trim().toLowerCase();
    if (coding === "") continue;
    let weight = 1;
    for (const parameter of parameters) {
      const [key = "", value = ""] = parameter.split("=");
      if (key.trim().toLowerCase() === "q") weight = quality.test(value.trim()) ? Number(value) : 0;
    }
    weights.set(coding === "x-gzip" ? "gzip" : coding, weight);
  }
  return weights;
}

const quality = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;
