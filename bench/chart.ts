/** The chart: one SVG, bars of CPU time per request against the reference; its colours follow the reader's light or dark. */
import type { ContenderName } from "./contenders/index.ts";
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
const colours: Readonly<Partial<Record<ContenderName, string>>> = {
  aralez: "#d9730d",
  "aralez-bun": "#c9a227",
  baseline: "#b08d57",
  nginx: "#3f8f5f",
  "nginx-large": "#86b89b",
  haproxy: "#3b7dc4",
  caddy: "#8a63c4",
};
const otherColour = "#8b8b8b";

const style = `
    .back { fill: #ffffff }
    text { fill: #1f2328; font: 12px system-ui, sans-serif }
    .title { font-size: 16px; font-weight: 600 }
    .note, .value { fill: #57606a }
    .one { stroke: #57606a; stroke-dasharray: 3 3 }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117 }
      text { fill: #e6edf3 }
      .note, .value { fill: #9aa4af }
      .one { stroke: #9aa4af }
    }`;

/** @param note what, when and where was measured, in one line */
export function chart(results: readonly ScenarioResult[], note: string): string {
  // Features have another reference, and so another meaning of 1.
  const shown = results.filter(({ reference, rounds }) => reference === "nginx" && rounds.nginx);
  const parts: string[] = [];
  let y = top;
  for (const result of shown) {
    const rows = rowsOf(result);
    parts.push(text(labelWidth - 12, y + 11, result.scenario, 'text-anchor="end"'));
    for (const { contender, cpuRatio = 0, cpuUs, errors } of rows) {
      parts.push(
        bar(y, contender, cpuRatio, errors > 0 ? "not valid" : `${cpuRatio.toFixed(2)} · ${cpuUs.toFixed(0)} µs`),
      );
      y += barHeight + 2;
    }
    y += groupGap;
  }
  const used = [...new Set(shown.flatMap(({ rounds }) => Object.keys(rounds)))] as ContenderName[];
  const one = labelWidth + lengthOf(1);
  const height = y + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
  <title>CPU time per request, nginx = 1</title>
  <style>${style}
  </style>
  <rect class="back" width="100%" height="100%"/>
  ${text(16, 24, "CPU time per request, nginx = 1 (shorter is better)", 'class="title"')}
  ${wrapped(note)
    .map((line, i) => text(16, 44 + i * 16, line, 'class="note"'))
    .join("")}
  ${legend(used)}
  <line class="one" x1="${one}" x2="${one}" y1="${top - 4}" y2="${height - groupGap}"/>
  ${parts.join("\n  ")}
</svg>
`;
}

function bar(y: number, contender: ContenderName, ratio: number, value: string): string {
  const length = lengthOf(Math.min(ratio, ratioMax));
  const name = escape(`${contender}: ${value}`);
  const shape = `<rect x="${labelWidth}" y="${y}" width="${length}" height="${barHeight}" fill="${colours[contender] ?? otherColour}"><title>${name}</title></rect>`;
  return shape + text(labelWidth + length + 6, y + 11, value + (ratio > ratioMax ? " →" : ""), 'class="value"');
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

function legend(names: readonly ContenderName[]): string {
  const step = 110;
  return names
    .map((name, i) => {
      const x = labelWidth + i * step;
      const swatch = `<rect x="${x}" y="92" width="10" height="10" fill="${colours[name] ?? otherColour}"/>`;
      return swatch + text(x + 15, 101, name, "");
    })
    .join("");
}

function lengthOf(ratio: number): number {
  return Math.round((ratio / ratioMax) * (width - labelWidth - valueWidth));
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x}" y="${y}"${attributes && ` ${attributes}`}>${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
