/** Reads a scrape in the text format of Prometheus. */

export interface Scrape {
  readonly text: string;
  /** names of the families, by their TYPE lines */
  readonly types: ReadonlyMap<string, string>;
  /** @param series name with its labels as they stand there, such as `up{host="a"}`. @returns undefined when there is none */
  value(series: string): number | undefined;
  /** series whose text begins so */
  like(start: string): string[];
}

export function readScrape(text: string): Scrape {
  const lines = text.split("\n");
  const types = new Map(
    lines.flatMap((line) => {
      const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, type!] as const];
    }),
  );
  const values = new Map(
    lines.flatMap((line) => {
      const [, series, value] = /^([^#\s].*) (\S+)$/.exec(line) ?? [];
      return series === undefined ? [] : [[series, Number(value)] as const];
    }),
  );
  return {
    text,
    types,
    value: (series) => values.get(series),
    like: (start) => [...values.keys()].filter((series) => series.startsWith(start)),
  };
}
