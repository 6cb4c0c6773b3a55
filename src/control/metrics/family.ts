/** Family: one metric with all its values, as prom-client renders it. */
import type { Histogram } from "../../data/observe/histogram.ts";

export type Labels = Readonly<Record<string, string>>;

/** One line of a scrape. */
export interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  /** the same for many lines: rendered once */
  readonly sharedLabels?: Labels;
  /** where it differs from the family's: `_bucket`, `_sum`, `_count` */
  readonly metricName?: string;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly values: readonly Value[];
}

type Sample = readonly [labels: Labels, value: number];

/** @param samples one number is one without labels */
export function counter(name: string, help: string, samples: number | Iterable<Sample>): Family {
  return { name, help, type: "counter", values: valuesOf(samples) };
}

/** @param samples one number is one without labels */
export function gauge(name: string, help: string, samples: number | Iterable<Sample>): Family {
  return { name, help, type: "gauge", values: valuesOf(samples) };
}

function valuesOf(samples: number | Iterable<Sample>): Value[] {
  if (typeof samples === "number") return [{ value: samples, labels: {} }];
  return Array.from(samples, ([labels, value]) => ({ value, labels }));
}

/** @param bounds in seconds, some of the histogram's own; all of them by default */
export function histogram(
  name: string,
  help: string,
  samples: Iterable<readonly [Labels, Histogram]>,
  bounds?: readonly number[],
): Family {
  const values: Value[] = [];
  for (const [labels, counted] of samples) values.push(...histogramValues(name, labels, counted, bounds));
  return { name, help, type: "histogram", values };
}

function histogramValues(
  name: string,
  sharedLabels: Labels,
  { bounds: own, counts, sumMs }: Histogram,
  bounds = own,
): Value[] {
  const bucket = `${name}_bucket`;
  const values: Value[] = [];
  let sum = 0;
  own.forEach((le, i) => {
    sum += counts[i]!;
    if (bounds.includes(le)) values.push({ metricName: bucket, labels: { le }, sharedLabels, value: sum });
  });
  sum += counts[own.length]!;
  values.push({ metricName: bucket, labels: { le: "+Inf" }, sharedLabels, value: sum });
  values.push({ metricName: `${name}_sum`, labels: {}, sharedLabels, value: sumMs / 1000 });
  values.push({ metricName: `${name}_count`, labels: {}, sharedLabels, value: sum });
  return values;
}
