/** `/conf`: rules pushed, tried, rolled back and listed; `/reload`: the files read again. All answered after the verdict. */
import { hasErrors, problemsAsJson, renderProblem, renderProblems, type Problem } from "../../config/problem.ts";
import { decodeText, isProblem } from "../../config/read-text.ts";
import type { Settings } from "../../config/settings.ts";
import type { OwnReply } from "../../data/exchange.ts";
import { refuse, titleOf } from "../../data/guards/guard.ts";
import { adminChangesMax, configBytesMax } from "../../lib/limits.ts";
import type { Applied, Push, PushResult, Reloader, ReloadResult } from "../reload.ts";
import { plural } from "../changes.ts";
import { showRouteChange } from "../route-changes.ts";
import { isRefusal, readBody } from "./body.ts";
import { jsonReply, textReply, wantsJson, type AdminRequest, type Endpoint } from "./endpoint.ts";
import { replaceFile } from "./replace-file.ts";

/** What SIGHUP does, and what it found. */
export interface ReloadReport {
  readonly rules: ReloadResult;
  /** of main.yaml; with an error the running settings stay */
  readonly settings: readonly Problem[];
  /** keys of main.yaml that have changed but need a restart */
  readonly needRestart: readonly string[];
}

export interface ConfOptions {
  settings(): Settings;
  readonly reloader: Pick<Reloader, "push" | "history">;
  reload(): Promise<ReloadReport>;
}

export function confEndpoints(options: ConfOptions): Endpoint[] {
  const conf = new Conf(options);
  const key = "key" as const;
  return [
    { methods: ["POST"], path: "/conf", access: key, answer: (request) => conf.push(request) },
    { methods: ["POST"], path: "/conf/rollback", access: key, answer: (request) => conf.rollback(request) },
    { methods: ["GET"], path: "/conf/history", access: key, answer: () => conf.history() },
    { methods: ["POST"], path: "/reload", access: key, answer: (request) => conf.reload(request) },
  ];
}

class Conf {
  #underway = 0;

  constructor(readonly options: ConfOptions) {}

  push(request: AdminRequest): Promise<OwnReply> {
    return this.#change(async () => {
      const body = await readBody(request.exchange, configBytesMax);
      if (isRefusal(body)) return body;
      const main = decodeText("pushed", body);
      if (isProblem(main)) return refused(request, [main]);
      return this.#apply(request, { main, origin: "push" }, body);
    });
  }

  rollback(request: AdminRequest): Promise<OwnReply> {
    return this.#change(async () => {
      const { history } = this.options.reloader;
      const wanted = request.query.get("version") ?? undefined;
      const found = history.find(wanted);
      if (!found) {
        const known = history.list().map(({ version }) => version);
        const what = wanted === undefined ? "there is no earlier version" : "there is no such version";
        return refuse(404, `${what}; in memory are ${known.join(", ")}`);
      }
      const { main, confd } = found.sources;
      return this.#apply(request, { main, confd, origin: "rollback" }, Buffer.from(main.text));
    });
  }

  history(): OwnReply {
    const [inForce, ...rest] = this.options.reloader.history.list();
    const show = ({ version, origin, timeMs, changes }: typeof inForce & object, now: boolean) => ({
      version,
      in_force: now,
      origin,
      time: new Date(timeMs).toISOString(),
      changes,
    });
    return jsonReply(200, inForce ? [show(inForce, true), ...rest.map((entry) => show(entry, false))] : []);
  }

  async reload(request: AdminRequest): Promise<OwnReply> {
    return this.#inTurn(async () => {
      const { rules, settings, needRestart } = await this.options.reload();
      if (rules.kind === "refused") return refused(request, [...settings, ...rules.problems]);
      if (hasErrors(settings))
        return refused(request, settings, "main.yaml is refused, the running settings stay; the rules were read again");
      if (rules.kind === "same") return textReply(200, `Nothing has changed\n`, "nothing has changed");
      const remarks = needRestart.length > 0 ? [`needs a restart: ${needRestart.join(", ")}`] : [];
      if (this.options.reloader.history.list()[0]?.origin !== "files")
        remarks.push("pushed rules are in force: they stay until the files change");
      return applied(request, { ...rules, problems: [...settings, ...rules.problems] }, "Applied", remarks);
    });
  }

  async #change(job: () => Promise<OwnReply>): Promise<OwnReply> {
    if (this.options.settings().config_api_enabled) return this.#inTurn(job);
    return refuse(403, "the configuration API is disabled (`config_api_enabled: false` in main.yaml)");
  }

  /** Each waiting one holds its text. */
  async #inTurn(job: () => Promise<OwnReply>): Promise<OwnReply> {
    if (this.#underway >= adminChangesMax)
      return refuse(503, `${this.#underway} changes are under way`, [["Retry-After", "1"]]);
    this.#underway++;
    try {
      return await job();
    } finally {
      this.#underway--;
    }
  }

  /** @param bytes of the main text, for `?save` */
  async #apply(
    request: AdminRequest,
    push: Pick<Push, "main" | "confd" | "origin">,
    bytes: Uint8Array,
  ): Promise<OwnReply> {
    const file = this.options.settings().upstreams_conf;
    const dryRun = request.query.has("dry_run");
    const asked = request.query.has("save");
    const save = () => {
      try {
        replaceFile(file, bytes);
        return undefined;
      } catch (error) {
        return `"${file}": ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`;
      }
    };
    const result: PushResult = await this.options.reloader.push({ ...push, dryRun, ...(asked && { save }) });
    if (result.kind === "refused") return refused(request, result.problems);
    if (dryRun) return applied(request, result, "Dry run: nothing was changed");
    if (result.unsaved !== undefined) return unsaved(request, result, result.unsaved);
    return applied(request, result, "Applied", asked ? [`saved: ${file}`] : []);
  }
}

function refused(
  request: AdminRequest,
  problems: readonly Problem[],
  what = "the rules are refused, the running ones stay",
): OwnReply {
  const errors = problems.filter(({ severity }) => severity === "error");
  const why = `refused: ${plural(errors.length, "error")}, the first: ${errors[0]?.message ?? ""}`;
  if (wantsJson(request))
    return jsonReply(400, { applied: false, error: what, ...JSON.parse(problemsAsJson(problems)) }, why);
  return textReply(400, `400 ${titleOf(400)}: ${what}\n${renderProblems(problems)}\n`, why);
}

/** @param first the first line, which programs may look at */
function applied(request: AdminRequest, result: Applied, first: string, more: readonly string[] = []): OwnReply {
  return told(request, 200, result, first, more);
}

function unsaved(request: AdminRequest, result: Applied, why: string): OwnReply {
  return told(request, 409, result, `409 ${titleOf(409)}: the rules are in force, but cannot be saved to ${why}`, []);
}

function told(
  request: AdminRequest,
  status: number,
  result: Applied,
  first: string,
  more: readonly string[],
): OwnReply {
  const { version, before, changes, routes, problems } = result;
  const flagged = routes.security > 0 ? `, ${routes.security} of them security-relevant` : "";
  const why = `${first.split("\n")[0]}: version ${version} (before: ${before || "none"}), changed: ${changes}${flagged}`;
  if (wantsJson(request)) {
    const summary = { result: first, version, before, changes, security: routes.security };
    const rest = { routes: routes.shown, more: routes.more, remarks: more, problems };
    return jsonReply(status, { applied: !first.startsWith("Dry run"), ...summary, ...rest }, why);
  }
  const lines = [
    first,
    `version: ${version} (before: ${before || "none"})`,
    `changed: ${changes}${flagged}`,
    ...routes.shown.map(showRouteChange),
    ...(routes.more > 0 ? [`… and ${routes.more} more`] : []),
    ...more,
    ...problems.map((problem) => renderProblem(problem).split("\n")[0]!),
  ];
  return textReply(status, `${lines.join("\n")}\n`, why);
}
