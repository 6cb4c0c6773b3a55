/** "Did you mean": the nearest known word, if it is near enough to be a slip. */

/** @returns the known word with the smallest edit distance, at most a third of its length (and at least 1), or undefined. */
export function suggest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  const wanted = word.toLowerCase().replaceAll("-", "_");
  for (const candidate of known) {
    const allowed = Math.max(
      1,
      Math.floor(Math.min(candidate.length, wanted.length) / 3) + (candidate.length > 3 ? 1 : 0),
    );
    const found = distance(wanted, candidate.toLowerCase().replaceAll("-", "_"), allowed);
    if (found <= allowed && found < bestDistance) {
      best = candidate;
      bestDistance = found;
    }
  }
  return best;
}

/** Optimal string alignment distance: insert, delete, replace, swap neighbours. Stops counting above `most`. */
function distance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let value = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) value = Math.min(value, before[j - 2]! + 1);
      row.push(value);
    }
    before = above;
    above = row;
  }
  return above[b.length]!;
}
