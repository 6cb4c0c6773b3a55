/** Deliver: pick a member, forward, fail over while that is allowed; or serve a file. */
import { hasToken } from "../lib/fields.ts";
import type { Body, FieldLine } from "./body.ts";
import { close } from "./close.ts";
import type { Answer, Exchange, Reply } from "./exchange.ts";
import { asFailure, type Failure } from "./failure.ts";
import type { Attempt } from "./forward/forwarder.ts";
import { KeptBody } from "./forward/kept-body.ts";
import { forwardWebSocket } from "./forward/upgrade.ts";
import { refuse } from "./guards/guard.ts";
import { LimitedBody } from "./guards/limits/max-body.ts";
import { applyEdits } from "./headers/edits.ts";
import { withHsts } from "./headers/hsts.ts";
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

/** Carries an exchange to its route's folder or to one of its members; the reply goes to {@link Exchange.reply}. */
export function deliver(plane: Plane, exchange: Exchange, route: Route, table: Table, nowMs: number): void {
  if (route.files) {
    serveFile(plane, exchange, route).catch((error: unknown) => exchange.fault(error));
    return;
  }
  const websocket = asksForWebSocket(exchange);
  const malformed = websocket ? malformedUpgrade(exchange) : undefined;
  if (malformed) return close(plane, exchange, malformed, "");
  new Delivery(plane, exchange, route, table, websocket && exchange.acceptWebSocket !== undefined).next(nowMs);
}

async function serveFile(plane: Plane, exchange: Exchange, route: Route): Promise<void> {
  const reply = await route.files!.answer(exchange, restOfPath(exchange.target, route.path));
  close(plane, exchange, { ...reply, fields: applyEdits(reply.fields, route.responseEdits) }, "");
}

const nobody: readonly Member[] = [];
const noLines: readonly FieldLine[] = [];

/** One exchange on its way to a member, and to further ones while that is allowed. */
class Delivery implements Attempt {
  member!: Member;
  body: Body | undefined;
  beganMs = 0;
  readonly #kept: KeptBody | undefined;
  #tried = nobody;
  #replayed = false;
  #sticky = noLines;

  constructor(
    readonly plane: Plane,
    readonly exchange: Exchange,
    readonly route: Route,
    readonly table: Table,
    /** this listener engine ends WebSockets itself */
    readonly websocket: boolean,
  ) {
    const { body } = exchange;
    if (body) this.#kept = new KeptBody(limited(body, route), route.retryBodyBytesMax);
    plane.retryBudget.countRequest(exchange.startedMs);
  }

  /** Asks the next member. */
  next(nowMs: number): void {
    const { exchange, route, plane } = this;
    const pool = route.pool!;
    const member = this.#pick(pool, nowMs);
    if (!member) return this.#give(refusal(plane, exchange, pool));
    this.member = exchange.member = member;
    exchange.tries++;
    this.beganMs = nowMs;
    this.#replayed = false;
    if (member.health.asideUntilMs !== 0) member.health.beginTrial(nowMs);
    if (this.#kept) this.body = this.#kept.attempt();
    if (route.stickySeconds > 0) {
      const cookie = exchange.field("cookie");
      this.#sticky = [stickyLine(pool, member, cookie, route.stickySeconds, exchange.secure)];
    }
    if (this.websocket) return this.#bridge();
    // Whatever carries plain requests, a tunnel needs a connection of our own.
    const { forwarder, tunnels } = plane.options;
    (exchange.upgrade === undefined ? forwarder : tunnels).forward(this);
    exchange.sentMs = performance.now();
  }

  again(unseen = false): boolean {
    const kept = this.#kept;
    if (unseen ? kept && !kept.repeatable : !mayReplay(this.exchange, kept)) return false;
    this.#replayed = true;
    this.body = this.#kept?.attempt();
    return true;
  }

  answered(answer: Answer, nowMs: number): void {
    const { exchange, route } = this;
    exchange.upstreamMs = nowMs - this.beganMs;
    this.#succeeded();
    exchange.failure = undefined;
    if (answer.tunnel) {
      exchange.acceptTunnel!(answer, route.responseEdits, this.#sticky);
      return exchange.reply(undefined);
    }
    const hsts = exchange.secure ? route.hsts : undefined;
    const fields = hsts === undefined ? this.#sticky : withHsts(answer, this.#sticky, hsts);
    exchange.reply({ passed: answer, status: answer.status, edits: route.responseEdits, fields });
    this.plane.metrics.replied(exchange, nowMs);
  }

  failed(failure: Failure): void {
    const { exchange, plane, member } = this;
    const pool = this.route.pool!;
    exchange.failure = failure;
    const nowMs = performance.now();
    settle(plane, member, failure, nowMs);
    this.#tried = [...this.#tried, member];
    if (!this.#mayRepeat(failure, nowMs)) return this.#give(refusal(plane, exchange, pool));
    // A lone member that dropped the connection is asked once more: there is no further one.
    if (failure.code === "early_reset" && pool.members.length === 1 && exchange.tries === 1 && !this.#replayed) {
      this.#tried = nobody;
    }
    this.next(nowMs);
  }

  #succeeded(): void {
    const { health, healthKey } = this.member;
    if (health.asideUntilMs !== 0) this.plane.options.aside?.({ key: healthKey, leftMs: 0, cause: "" });
    health.succeeded();
  }

  #pick(pool: Pool, nowMs: number): Member | undefined {
    if (this.route.stickySeconds > 0 && this.#tried.length === 0) {
      const member = stickyMember(pool, this.exchange.field("cookie"));
      if (member?.health.ready(nowMs)) return member;
    }
    return pool.pick(nowMs, this.#tried);
  }

  #mayRepeat(failure: Failure, nowMs: number): boolean {
    const { exchange, route, plane } = this;
    const body = this.#kept;
    if (failure.reach === "final" || this.#tried.length > route.retries) return false;
    if (failure.reach === "unanswered" ? !mayReplay(exchange, body) : body && !body.repeatable) return false;
    return plane.retryBudget.take(nowMs, this.table.retryBudgetPercent);
  }

  #give(reply: Reply): void {
    this.#kept?.cancel();
    close(this.plane, this.exchange, reply, "");
  }

  /** The client's WebSocket ends here, and another one begins. */
  #bridge(): void {
    forwardWebSocket(this.plane, this, this.#sticky).then(
      (refusal) => {
        if (refusal) return this.answered(refusal, performance.now());
        this.#succeeded();
        this.exchange.upstreamMs = performance.now() - this.beganMs;
        this.exchange.reply(undefined);
      },
      (error: unknown) => this.failed(asFailure(error, this.member.endpoint.name)),
    );
  }
}

function limited(body: Body, { maxBodyBytes }: Route): Body {
  return maxBodyBytes === 0 ? body : new LimitedBody(body, maxBodyBytes);
}

/** What a failure says about the member. */
function settle(plane: Plane, member: Member, failure: Failure, nowMs: number): void {
  member.endpoint.counters?.unanswered(failure);
  if (!failure.counts) return member.health.undecided();
  if (failure.reach === "nothing") member.endpoint.heardMs = -Infinity;
  if (member.health.failed(nowMs, failure.message)) {
    const { failMs } = member.health.ejection;
    const seconds = failMs / 1000;
    plane.options.aside?.({ key: member.healthKey, leftMs: failMs, cause: failure.message });
    plane.options.log("warn", "health", `${member.endpoint.name} is put aside for ${seconds} s: ${failure.message}`);
  }
}

/** The method means the same twice, and its body is kept. */
function mayReplay(exchange: Exchange, body: KeptBody | undefined): boolean {
  return idempotent.has(exchange.method) && (!body || body.repeatable);
}

/** Our own answer after the last failure. What went wrong inside is for the log, never for the client. */
export function refusal(plane: Plane, exchange: Exchange, pool: Pool): Reply {
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
    413: "the request body is larger than this route allows",
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
