/** The verb `explain`: what would become of a request, by the configuration files, and by asking the members it might go to. */
import { dirname, resolve } from "node:path";
import { loadSettings } from "../config/load-settings.ts";
import { renderProblems } from "../config/problem.ts";
import { offlinePlane } from "../control/offline-plane.ts";
import { explain } from "../data/explain/explain.ts";
import { BadQuestion, readQuestion, type Question } from "../data/explain/question.ts";
import { showExplanation } from "../data/explain/show.ts";
import { loadRules, placeOfKey, readRuleFiles } from "../data/routing/load-rules.ts";
import { UsageError } from "./arguments.ts";
import { findConfiguration } from "./find-configuration.ts";
import { textOf, type Call } from "./verb.ts";

/** @returns 0 when it could be explained, whatever the answer would be; 1 when the configuration has errors */
export async function run(call: Call): Promise<number> {
  const question = questionOf(call);
  const file = findConfiguration(textOf(call, "conf"), call.env);
  if (file === undefined) {
    console.error(
      "aralez: Cannot explain: there is no $ARALEZ_CONFIG, ./main.yaml or /etc/aralez/main.yaml; name one with -c",
    );
    return 1;
  }
  const { settings, problems, stickySecondsLegacy } = loadSettings({ file, text: undefined }, call.env, placeOfKey);
  if (!settings) return refuse(renderProblems(problems));
  const sources = readRuleFiles(settings);
  if (sources.problems.length > 0) return refuse(renderProblems(sources.problems));
  const folder = dirname(resolve(file));
  const { rules, problems: wrong } = loadRules(sources, { settings, folder, env: call.env, stickySecondsLegacy });
  if (!rules) return refuse(renderProblems(wrong));

  const remarks: string[] = [];
  const { plane, check } = offlinePlane(rules, settings, (remark) => remarks.push(remark));
  let found = await explain(plane, question);
  const pool = plane.table.routes.find(({ name }) => name === found.route)?.pool;
  if (pool && !call.flags["no-check"]) {
    await check(pool);
    found = await explain(plane, question);
  }
  if (call.flags.json) console.log(JSON.stringify({ ...found, remarks }, null, 2));
  else console.log([showExplanation(found), ...remarks.map((remark) => `note: ${remark}`)].join("\n"));
  return 0;
}

/** @throws UsageError */
function questionOf(call: Call): Question {
  const [first = "", second] = call.operands;
  const fields = call.flags.header;
  try {
    return readQuestion(
      second === undefined ? "GET" : first.toUpperCase(),
      second ?? first,
      Array.isArray(fields) ? fields : [],
      textOf(call, "client"),
    );
  } catch (error) {
    if (error instanceof BadQuestion) throw new UsageError(error.message, "explain");
    throw error;
  }
}

function refuse(text: string): number {
  console.error(text);
  return 1;
}
