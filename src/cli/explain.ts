/**
 * The verb `explain`: what would become of a request. The running proxy is asked, which knows how its servers are; where
 * none answers, the configuration files are, and the members that the request might go to.
 */
import { dirname, resolve } from "node:path";
import { loadSettings } from "../config/load-settings.ts";
import { renderProblems } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import { offlinePlane } from "../control/offline-plane.ts";
import { explain, type Explanation } from "../data/explain/explain.ts";
import { BadQuestion, readQuestion, type Question } from "../data/explain/question.ts";
import { showExplanation } from "../data/explain/show.ts";
import { loadRules, placeOfKey, readRuleFiles } from "../data/routing/load-rules.ts";
import { showListen } from "../lib/address.ts";
import { adminHealthWaitMs } from "../lib/limits.ts";
import { askAdmin, findAdmin, Unreachable, type AdminTarget } from "./admin-client.ts";
import { UsageError } from "./arguments.ts";
import { findConfiguration } from "./find-configuration.ts";
import { textOf, type Call } from "./verb.ts";

/** @returns 0 when it could be explained, whatever the answer would be; 1 when the configuration has errors */
export async function run(call: Call): Promise<number> {
  const asked = wordsOf(call);
  const question = questionOf(asked);
  if (textOf(call, "address") !== undefined) {
    const found = await askRunning(await findAdmin(call, true), asked);
    return typeof found === "string" ? refuse(`aralez: ${found}`) : print(call, found.explanation, [found.remark]);
  }
  const file = findConfiguration(textOf(call, "conf"), call.env);
  if (file === undefined) {
    return refuse(
      "aralez: Cannot explain: there is no $ARALEZ_CONFIG, ./main.yaml or /etc/aralez/main.yaml; name one with -c",
    );
  }
  const { settings, problems, stickySecondsLegacy } = loadSettings({ file, text: undefined }, call.env, placeOfKey);
  if (!settings) return refuse(renderProblems(problems));
  const found = call.flags.offline ? "--offline" : await askConfigured(call, settings, asked);
  if (typeof found !== "string") return print(call, found.explanation, [found.remark]);

  const sources = readRuleFiles(settings);
  if (sources.problems.length > 0) return refuse(renderProblems(sources.problems));
  const folder = dirname(resolve(file));
  const { rules, problems: wrong } = loadRules(sources, { settings, folder, env: call.env, stickySecondsLegacy });
  if (!rules) return refuse(renderProblems(wrong));

  const remarks: string[] = [`by the files, not by the running proxy: ${found}`];
  const { plane, check } = offlinePlane(rules, settings, (remark) => remarks.push(remark));
  let explanation = await explain(plane, question);
  const pool = plane.table.routes.find(({ name }) => name === explanation.route)?.pool;
  if (pool && !call.flags["no-check"]) {
    await check(pool);
    explanation = await explain(plane, question);
  }
  return print(call, explanation, remarks);
}

function print(call: Call, explanation: Explanation, remarks: readonly string[]): number {
  if (call.flags.json) console.log(JSON.stringify({ ...explanation, remarks }, null, 2));
  else console.log([showExplanation(explanation), ...remarks.map((remark) => `note: ${remark}`)].join("\n"));
  return 0;
}

interface FromProxy {
  readonly explanation: Explanation;
  readonly remark: string;
}

/** @returns why there is no answer, as text */
async function askConfigured(call: Call, settings: Settings, asked: Asked): Promise<FromProxy | string> {
  const key = textOf(call, "key") ?? settings.master_key;
  if (key === undefined) return "that is asked when main.yaml has a `master_key`";
  return askRunning({ address: settings.config_address, key }, asked);
}

/** @returns why there is no answer, as text */
async function askRunning(target: AdminTarget, asked: Asked): Promise<FromProxy | string> {
  const where = showListen(target.address);
  try {
    const more = { body: JSON.stringify(asked), json: true, waitMs: adminHealthWaitMs };
    const { status, text } = await askAdmin(target, "POST", "/explain", more);
    if (status !== 200) return `what listens on ${where} answers ${text.split("\n")[0]!.slice(0, 200)}`;
    const explanation = JSON.parse(text) as Partial<Explanation> | null;
    if (!Array.isArray(explanation?.chain)) throw new SyntaxError();
    return { explanation: explanation as Explanation, remark: `by the running proxy on ${where}` };
  } catch (error) {
    if (error instanceof Unreachable) return error.message;
    if (error instanceof SyntaxError) return `what listens on ${where} is no admin API`;
    throw error;
  }
}

/** The question as it was written, which is how the admin API takes it. */
interface Asked {
  readonly method: string;
  readonly url: string;
  readonly header: readonly string[];
  readonly client: string | undefined;
}

function wordsOf(call: Call): Asked {
  const [first = "", second] = call.operands;
  const { header } = call.flags;
  return {
    method: second === undefined ? "GET" : first.toUpperCase(),
    url: second ?? first,
    header: Array.isArray(header) ? header : [],
    client: textOf(call, "client"),
  };
}

/** @throws UsageError */
function questionOf({ method, url, header, client }: Asked): Question {
  try {
    return readQuestion(method, url, header, client);
  } catch (error) {
    if (error instanceof BadQuestion) throw new UsageError(error.message, "explain");
    throw error;
  }
}

function refuse(text: string): number {
  console.error(text);
  return 1;
}
