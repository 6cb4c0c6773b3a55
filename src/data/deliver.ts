/** Deliver: pick a member, forward, fail over while that is allowed; or serve a file. */
import { hasToken } from "../lib/fields.ts";
import type { Exchange, PassedReply, Reply } from "./exchange.ts";
import { Failure } from "./failure.ts";
import { KeptBody } from "./forward/kept-body.ts";
import { forwardWebSocket } from "./forward/upgrade.ts";
import { refuse } from "./guards/guard.ts";
import { applyEdits } from "./headers/edits.ts";
import { restOfPath } from "./headers/to-upstream.ts";
import type { Plane } from "./plane.ts";
import type { Route, Table } from "./routing/table.ts";
import type { Member, Pool } from "./upstream/pool.ts";
import { stickyLine, stickyMember } from "./upstream/sticky.ts";

/** Methods whose repetition means the same as one request (RFC 9110 9.2.2, and the safe ones of the registry). */
const idempotent: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "PUT",
  "DELETE",
  "PROPFIND",
  "REPORT",
  "SEARCH",
  "QUERY",
]);

/** @returns undefined when the exchange became a WebSocket */
export async function deliver(
  plane: Plane,
  exchange: Exchange,
  route: Route,
  table: Table,
): Promise<Reply | undefined> {
  if (route.files) {
    const reply = await route.files.answer(exchange, restOfPath(exchange.target, route.path));
    return { ...reply, fields: applyEdits(reply.fields, route.responseEdits) };
  }
  const pool = route.pool!;
  const asked = asksForWebSocket(exchange);
  const malformed = asked ? malformedUpgrade(exchange) : undefined;
  if (malformed) return malformed;
  const websocket = asked && exchange.acceptWebSocket !== undefined;
  // Whatever carries plain requests, a tunnel needs a connection of our own.
  const forwarder = exchange.upgrade === undefined ? plane.options.forwarder : plane.options.tunnels;
  const body = exchange.body && new KeptBody(exchange.body, route.retryBodyBytesMax);
  const tried: Member[] = [];
  plane.retryBudget.countRequest(exchange.startedMs);
  for (;;) {
    const member = pick(pool, route, exchange, tried);
    if (!member) break;
    tried.push(member);
    exchange.member = member;
    exchange.tries++;
    const beganMs = performance.now();
    member.health.beginTrial(beganMs);
    let replayed = false;
    const again = (unseen = false) => {
      if (unseen ? body && !body.repeatable : !mayReplay(exchange, body)) return undefined;
      replayed = true;
      return { body: body?.attempt() };
    };
    try {
      const sticky =
        route.stickySeconds > 0
          ? [stickyLine(pool, member, exchange.field("cookie"), route.stickySeconds, exchange.secure)]
          : [];
      const attempt = { exchange, route, member, body: body?.attempt(), again };
      const answer = websocket ? await forwardWebSocket(plane, attempt, sticky) : await forwarder.forward(attempt);
      exchange.upstreamMs = performance.now() - beganMs;
      member.health.succeeded();
      exchange.failure = undefined;
      if (!answer) return undefined;
      if (answer.tunnel) {
        exchange.acceptTunnel!(answer, route.responseEdits, sticky);
        return undefined;
      }
      return {
        passed: answer,
        status: answer.status,
        edits: route.responseEdits,
        fields: sticky,
      } satisfies PassedReply;
    } catch (error) {
      const failure =
        error instanceof Failure
          ? error
          : new Failure("bad_answer", `${member.endpoint.name}: ${(error as Error)?.message ?? error}`);
      exchange.failure = failure;
      settle(plane, member, failure);
      if (!mayRepeat(plane, exchange, failure, body, tried.length, route, table)) break;
      // A lone member that dropped the connection is asked once more: there is no further one.
      if (failure.code === "early_reset" && pool.members.length === 1 && exchange.tries === 1 && !replayed) {
        tried.length = 0;
      }
    }
  }
  body?.cancel();
  return refusal(plane, exchange, pool);
}

function pick(pool: Pool, route: Route, exchange: Exchange, tried: readonly Member[]): Member | undefined {
  const nowMs = performance.now();
  if (route.stickySeconds > 0 && tried.length === 0) {
    const member = stickyMember(pool, exchange.field("cookie"));
    if (member?.health.ready(nowMs)) return member;
  }
  return pool.pick(nowMs, tried);
}

/** What a failure says about the member. */
function settle(plane: Plane, member: Member, failure: Failure): void {
  if (!failure.counts) return member.health.undecided();
  if (failure.reach === "nothing") member.endpoint.heardMs = -Infinity;
  if (member.health.failed(performance.now(), failure.message)) {
    const seconds = member.health.ejection.failMs / 1000;
    plane.options.log("warn", "health", `${member.endpoint.name} is put aside for ${seconds} s: ${failure.message}`);
  }
}

function mayRepeat(
  plane: Plane,
  exchange: Exchange,
  failure: Failure,
  body: KeptBody | undefined,
  tries: number,
  route: Route,
  table: Table,
): boolean {
  if (failure.reach === "final" || tries > route.retries) return false;
  if (failure.reach === "unanswered" ? !mayReplay(exchange, body) : body && !body.repeatable) return false;
  return plane.retryBudget.take(performance.now(), table.retryBudgetPercent);
}

/** The method means the same twice, and its body is kept. */
function mayReplay(exchange: Exchange, body: KeptBody | undefined): boolean {
  return idempotent.has(exchange.method) && (!body || body.repeatable);
}

/** Our own answer after the last failure. What went wrong inside is for the log, never for the client. */
function refusal(plane: Plane, exchange: Exchange, pool: Pool): Reply {
  const { failure } = exchange;
  if (!failure) {
    const causes = pool.members.map((member) => `${member.endpoint.name} ${member.health.cause}`.trim()).join("; ");
    return refuse(
      503,
      "no upstream server is available",
      [["Retry-After", String(plane.options.retryAfterSeconds)]],
      `all members are down: ${causes}`,
    );
  }
  const words: Partial<Record<number, string>> = {
    400: "the request body is not valid",
    408: "the request body did not arrive in time",
    502: "the upstream server could not be reached or gave no valid answer",
    503: "the upstream servers are busy",
    504: "the upstream server did not answer in time",
  };
  if (failure.code === "unsupported") return refuse(501, "the upstream cannot be asked this way", [], failure.message);
  return refuse(
    failure.status,
    words[failure.status] ?? "the request failed",
    [],
    `${failure.code}: ${failure.message}`,
  );
}

/** RFC 6455 4.2.1: refused before an upstream is upgraded for nothing. */
function malformedUpgrade(exchange: Exchange): Reply | undefined {
  if (exchange.field("sec-websocket-version")?.trim() !== "13") {
    return refuse(426, "only WebSocket version 13 is served here", [["Sec-WebSocket-Version", "13"]]);
  }
  if (/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(exchange.field("sec-websocket-key") ?? "")) return undefined;
  return refuse(400, "Sec-WebSocket-Key is missing or not valid");
}

function asksForWebSocket(exchange: Exchange): boolean {
  return (
    exchange.method === "GET" &&
    (exchange.acceptWebSocket !== undefined || exchange.upgrade !== undefined) &&
    hasToken(exchange.field("upgrade"), "websocket") &&
    hasToken(exchange.field("connection"), "upgrade")
  );
}
