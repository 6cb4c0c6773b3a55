/** The chart: one SVG, bars of CPU time per request against the reference; its colours follow the reader's light or dark. */
import type { ScenarioResult } from "./measure.ts";
import { rowsOf } from "./report.ts";

const width = 860;
const labelWidth = 200;
const valueWidth = 110;
const barHeight = 14;
const groupGap = 20;
const top = 116;
const noteCharsMax = 120;
/** Longer bars are cut here and say so by their number: one outlier would make all others unreadable. */
const ratioMax = 3;

/** Legible on white and on black; nobody has to tell red from green. */
const colours: Readonly<Record<string, string>> = {
  aralez: "#d9730d",
  "aralez-bun": "#c9a227",
  baseline: "#b08d57",
  nginx: "#3f8f5f",
  "nginx-large": "#86b89b",
  haproxy: "#3b7dc4",
  caddy: "#8a63c4",
  traefik: "#3aa6a6",
  original: "#c2477f",
};
const otherColour = "#8b8b8b";

const style = `
    .back { fill: #ffffff }
    text { fill: #1f2328; font: 12px system-ui, sans-serif }
    .title { font-size: 16px; font-weight: 600 }
    .note, .value { fill: #57606a }
    .one { stroke: #57606a; stroke-dasharray: 3 3 }
    .claim { stroke: #c2477f; stroke-width: 2 }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117 }
      text { fill: #e6edf3 }
      .note, .value { fill: #9aa4af }
      .one { stroke: #9aa4af }
    }`;

/** Bars that belong together. */
export interface Group {
  readonly title: string;
  readonly bars: readonly { readonly contender: string; readonly ratio: number; readonly value: string }[];
}

/** @param note what, when and where was measured, in one line */
export function chart(results: readonly ScenarioResult[], note: string): string {
  const groups = results
    // Features have another reference, and so another meaning of 1; a user's benchmark has a chart of its own.
    .filter(({ reference, rounds, workers }) => reference === "nginx" && rounds.nginx && workers === undefined)
    .map((result) => ({
      title: result.scenario,
      bars: rowsOf(result).map(({ contender, cpuRatio = 0, cpuUs, errors }) => ({
        contender,
        ratio: cpuRatio,
        value: errors > 0 ? "not valid" : `${cpuRatio.toFixed(2)} · ${cpuUs.toFixed(0)} µs`,
      })),
    }));
  return frame("CPU time per request, nginx = 1 (shorter is better)", note, groups, bars);
}

/** @param draw what stands for a group whose bars go from `top` to `bottom`, below its title on the left */
export function frame(
  title: string,
  note: string,
  groups: readonly Group[],
  draw: (group: Group, top: number, bottom: number) => readonly string[],
): string {
  const parts: string[] = [];
  let y = top;
  for (const group of groups) {
    const bottom = y + group.bars.length * (barHeight + 2);
    parts.push(text(labelWidth - 12, y + 11, group.title, 'text-anchor="end"'), ...draw(group, y, bottom));
    y = bottom + groupGap;
  }
  const used = [...new Set(groups.flatMap((group) => group.bars.map(({ contender }) => contender)))];
  const height = y + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
  <title>${escape(title)}</title>
  <style>${style}
  </style>
  <rect class="back" width="100%" height="100%"/>
  ${text(16, 24, title, 'class="title"')}
  ${wrapped(note)
    .map((line, i) => text(16, 44 + i * 16, line, 'class="note"'))
    .join("")}
  ${legend(used)}
  <line class="one" x1="${lengthOf(1)}" x2="${lengthOf(1)}" y1="${top - 4}" y2="${height - groupGap}"/>
  ${parts.join("\n  ")}
</svg>
`;
}

export function bars(group: Group, top: number): string[] {
  return group.bars.map(({ contender, ratio, value }, i) => bar(top + i * (barHeight + 2), contender, ratio, value));
}

function bar(y: number, contender: string, ratio: number, value: string): string {
  const end = lengthOf(Math.min(ratio, ratioMax));
  const name = escape(`${contender}: ${value}`);
  const fill = colours[contender] ?? otherColour;
  const shape = `<rect x="${labelWidth}" y="${y}" width="${end - labelWidth}" height="${barHeight}" fill="${fill}"><title>${name}</title></rect>`;
  return shape + text(end + 6, y + 11, value + (ratio > ratioMax ? " →" : ""), 'class="value"');
}

/** Lines of whole words; what does not fit into the three there is room for is left out. */
function wrapped(note: string): string[] {
  const lines = [""];
  for (const word of note.split(" ")) {
    if (lines.at(-1)!.length + word.length >= noteCharsMax) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) === "" ? "" : " "}${word}`;
  }
  return lines.slice(0, 3);
}

function legend(names: readonly string[]): string {
  const step = Math.min(110, (width - 24) / names.length);
  const left = Math.min(labelWidth, width - 8 - names.length * step);
  return names
    .map((name, i) => {
      const x = left + i * step;
      const swatch = `<rect x="${x}" y="92" width="10" height="10" fill="${colours[name] ?? otherColour}"/>`;
      return swatch + text(x + 15, 101, name, "");
    })
    .join("");
}

/** Where a bar of that length ends. */
export function lengthOf(ratio: number): number {
  return labelWidth + Math.round((ratio / ratioMax) * (width - labelWidth - valueWidth));
}

export function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x}" y="${y}"${attributes && ` ${attributes}`}>${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
