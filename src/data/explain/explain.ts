/**
 * Explain: the way a request would take, step by step, by the code that real requests run through. Nothing is sent,
 * nothing is counted and no turn is taken.
 */
import { hasToken } from "../../lib/fields.ts";
import { refusal } from "../deliver.ts";
import type { Exchange, Reply } from "../exchange.ts";
import { refuse, type Guard, type Rehearsal } from "../guards/guard.ts";
import { arrive, identify } from "../handle.ts";
import { answerLastForward } from "../headers/max-forwards.ts";
import { fieldsToUpstream, hostToUpstream, targetToUpstream } from "../headers/to-upstream.ts";
import { redactTarget } from "../observe/redact.ts";
import type { Plane } from "../plane.ts";
import { findHost } from "../routing/match.ts";
import type { Route, Table } from "../routing/table.ts";
import { policyFor } from "../tls/client-policy.ts";
import { candidates, type Candidate } from "./candidates.ts";
import { ImaginedExchange } from "./imagined-exchange.ts";
import { maskedLines } from "./masked-lines.ts";
import type { Question } from "./question.ts";

export interface Step {
  /** `request`, `host`, `path`, `loop`, or the name of a guard */
  readonly step: string;
  /** `open`: somebody else decides, who was not asked. `unreached`: a step before has answered */
  readonly outcome: "passes" | "answers" | "open" | "unreached";
  /** what it found; "" = nothing to say */
  readonly says: string;
}

/** Plain data, for JSON as it is. */
export interface Explanation {
  readonly request: { readonly method: string; readonly url: string; readonly client: string };
  /** of the rules in force */
  readonly version: string;
  readonly chain: readonly Step[];
  /** our own answer; absent when the request goes to an upstream or a folder */
  readonly answer?: { readonly status: number; readonly why: string; readonly fields: readonly string[] };
  readonly route?: string;
  /** the folder that is served instead of servers */
  readonly files?: string;
  /** the request as it would go upstream, secrets masked */
  readonly upstream?: { readonly request: string; readonly fields: readonly string[] };
  /** what is done to the head of the answer */
  readonly answerHead?: { readonly without: readonly string[]; readonly with: readonly string[] };
  /** in the order of the configuration */
  readonly members?: readonly Candidate[];
}

/** @throws nothing: what cannot be served is explained as well */
export async function explain(plane: Plane, question: Question): Promise<Explanation> {
  const { table } = plane;
  const exchange = new ImaginedExchange(question);
  identify(plane, exchange);
  let answer = arrive(table, exchange);
  if (exchange.secure) exchange.shake(policyFor(table, exchange.host)?.id ?? "");
  const chain = arrival(table, exchange, answer);
  const { route } = exchange;
  if (!answer && route) answer = await guarded(plane, exchange, route, chain);
  if (!answer && route?.pool?.allDown) answer = refusal(plane, exchange, route.pool);
  return {
    request: { method: exchange.method, url: urlOf(exchange), client: exchange.client },
    version: table.version,
    chain,
    ...(answer && { answer: shown(answer) }),
    ...(route && aboutRoute(plane, exchange, route)),
  };
}

function urlOf(exchange: Exchange): string {
  return `http${exchange.secure ? "s" : ""}://${exchange.authority ?? ""}${redactTarget(exchange.target)}`;
}

/** Which host and path it belongs to, or why to none. */
function arrival(table: Table, exchange: Exchange, refused: Reply | undefined): Step[] {
  const { host, path, route } = exchange;
  const found = findHost(table, host);
  const why = refused ? whyOf(refused) : "";
  // What is wrong with the request itself; an unmatched one has other statuses.
  if (refused?.status === 400 || refused?.status === 405) return [{ step: "request", outcome: "answers", says: why }];
  const asked = host === "" ? "no host" : host;
  if (!found) return [{ step: "host", outcome: "answers", says: `${asked}: ${why}, and there is no DEFAULT` }];
  const hostStep: Step = { step: "host", outcome: "passes", says: `${asked} → ${found.name}` };
  const read = path === exchange.target.split("?")[0] ? path : `${redactTarget(exchange.target)}, read as ${path}`;
  if (route) return [hostStep, { step: "path", outcome: "passes", says: `${read} → ${route.path}` }];
  const others = [...found.paths.keys()].slice(0, 10).join(", ");
  return [hostStep, { step: "path", outcome: "answers", says: `${read}: ${why}; this host has ${others || "none"}` }];
}

/** Runs through what stands before the upstream; adds to the chain. @returns the answer of the first that gives one */
async function guarded(plane: Plane, exchange: Exchange, route: Route, chain: Step[]): Promise<Reply | undefined> {
  if (hasToken(exchange.field("cdn-loop"), plane.options.loopMark)) {
    const answer = refuse(508, "this request has passed through this proxy before");
    chain.push({ step: "loop", outcome: "answers", says: whyOf(answer) });
    return answer;
  }
  let answer: Reply | undefined;
  for (const guard of route.guards) {
    if (answer) {
      chain.push({ step: guard.name, outcome: "unreached", says: "" });
      continue;
    }
    const { verdict, note, open } = await rehearse(guard, exchange, route);
    answer = verdict;
    const outcome = verdict ? "answers" : open ? "open" : "passes";
    chain.push({ step: guard.name, outcome, says: verdict ? [whyOf(verdict), note].filter(Boolean).join("; ") : note });
  }
  if (answer) return answer;
  const last = answerLastForward(exchange);
  if (last) chain.push({ step: "max-forwards", outcome: "answers", says: "this proxy is the last recipient" });
  return last;
}

async function rehearse(guard: Guard, exchange: Exchange, route: Route): Promise<Rehearsal> {
  if (guard.rehearse) return guard.rehearse(exchange, route);
  const verdict = await guard.check(exchange, route);
  return { verdict, note: !verdict && exchange.user !== "" ? `as ${exchange.user}` : "" };
}

function aboutRoute(plane: Plane, exchange: Exchange, route: Route): Partial<Explanation> {
  const { name, files, pool, responseEdits } = route;
  const answerHead = { without: [...responseEdits.drop], with: maskedLines(responseEdits.lines) };
  if (!pool) return { route: name, ...(files && { files: files.root, answerHead }) };
  const members = candidates(exchange, route, pool, performance.now());
  const first = members.find(({ turn }) => turn === 1)?.server ?? "";
  const host = hostToUpstream(exchange, route, first);
  const fields = fieldsToUpstream(exchange, route, plane.options.loopMark);
  return {
    route: name,
    upstream: {
      request: `${exchange.method} ${redactTarget(targetToUpstream(exchange, route))}`,
      fields: maskedLines([["Host", host], ...fields]),
    },
    answerHead,
    members,
  };
}

function shown(reply: Reply): NonNullable<Explanation["answer"]> {
  const fields = reply.passed ? [] : maskedLines(reply.fields);
  return { status: reply.status, why: whyOf(reply), fields };
}

function whyOf(reply: Reply): string {
  return reply.passed ? "" : reply.why;
}
