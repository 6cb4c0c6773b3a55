/** An explanation as text for a terminal. */
import { showControls } from "../../lib/log.ts";
import type { Candidate } from "./candidates.ts";
import type { Explanation, Step } from "./explain.ts";

export function showExplanation(explanation: Explanation): string {
  const { request, version, chain, answer, route, files, upstream, answerHead, members } = explanation;
  const { method, url, client } = request;
  const lines = [`${method} ${url}, client ${client}, rules ${version}`, "", ...columns(chain.map(stepCells))];
  lines.push("", `→ ${outcome(explanation)}`);
  if (answer) lines.push(...answer.fields.map((line) => `    ${line}`));
  if (files !== undefined && !answer) lines.push(`  folder: ${files}`);
  if (upstream && (!answer || answer.status === 503)) {
    lines.push("", `Sent upstream by route ${route}:`, `  ${upstream.request}`);
    lines.push(...upstream.fields.map((line) => `    ${line}`));
  }
  if (answerHead && answerHead.without.length + answerHead.with.length > 0) {
    lines.push("", "Changed in the head of the answer:");
    lines.push(...answerHead.without.map((name) => `  - ${name}`), ...answerHead.with.map((line) => `  + ${line}`));
  }
  if (members) lines.push("", `Members of ${route}:`, ...columns(members.map(memberCells)));
  return lines.map(showControls).join("\n");
}

function outcome({ answer, route, files, members }: Explanation): string {
  if (answer) return `answered here: ${answer.status}${answer.why === "" ? "" : `, ${answer.why}`}`;
  if (files !== undefined) return `served from a folder by route ${route}`;
  const first = members?.find(({ turn }) => turn === 1);
  return first ? `forwarded to ${first.server}` : `forwarded by route ${route}`;
}

function stepCells({ step, outcome, says }: Step): string[] {
  const words = { passes: "passes", answers: "ANSWERS", open: "open", unreached: "not reached" };
  return [step, words[outcome], says];
}

function memberCells({ server, weight, protocol, state, why, turn, sticky }: Candidate): string[] {
  const when =
    turn === undefined
      ? "not asked"
      : turn === 1
        ? "asked first"
        : `asked if ${turn - 1 > 1 ? `${turn - 1} others fail` : "the first fails"}`;
  const marks = [protocol, weight === 1 ? "" : `weight ${weight}`, sticky ? "named by the cookie" : ""];
  return [server, state, when, marks.filter(Boolean).join(", "), why];
}

/** Indented columns as wide as their widest cell; the last one as it is. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    `  ${row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]!) : cell)).join("  ")}`.trimEnd(),
  );
}
