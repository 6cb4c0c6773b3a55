/** Candidates: the members of a route as a request would find them, and in which order it would try them. */
import type { Exchange } from "../exchange.ts";
import type { Route } from "../routing/table.ts";
import { Pool, type Member } from "../upstream/pool.ts";
import { stickyMember } from "../upstream/sticky.ts";
import { LocalTurn } from "../upstream/turn.ts";

export interface Candidate {
  readonly server: string;
  readonly weight: number;
  /** as configured, or found out by asking; `auto` = not known yet */
  readonly protocol: string;
  /** `unchecked`: health checks are off, and nothing speaks against it. `aside`: it has failed too often, for a while */
  readonly state: "up" | "down" | "aside" | "unknown" | "unchecked";
  /** why; "" = nothing known */
  readonly why: string;
  /** 1 = asked now, 2 = asked if that fails, …; absent when it would not be asked */
  readonly turn?: number;
  /** the request's cookie names it */
  readonly sticky?: true;
}

/** @param nowMs by performance.now() */
export function candidates(exchange: Exchange, route: Route, pool: Pool, nowMs: number): Candidate[] {
  const sticky = route.stickySeconds > 0 ? stickyMember(pool, exchange.field("cookie")) : undefined;
  const order = orderOf(route, pool, sticky, nowMs);
  return pool.members.map((member) => {
    const turn = order.indexOf(member) + 1;
    return {
      server: member.endpoint.name,
      weight: member.weight,
      protocol: member.protocol === "auto" ? (member.endpoint.wire ?? "auto") : member.protocol,
      ...standing(member, nowMs),
      ...(turn > 0 && { turn }),
      ...(member === sticky && { sticky: true as const }),
    };
  });
}

/** By the pool's own rule, on a copy of its counter: asking must not take anybody's turn. */
function orderOf({ retries }: Route, pool: Pool, sticky: Member | undefined, nowMs: number): Member[] {
  const rehearsal = new Pool(pool.members, new LocalTurn(pool.turn.next));
  const order: Member[] = sticky?.health.ready(nowMs) ? [sticky] : [];
  while (order.length <= retries) {
    const member = rehearsal.pick(nowMs, order);
    if (!member) break;
    order.push(member);
  }
  return order;
}

function standing({ health }: Member, nowMs: number): Pick<Candidate, "state" | "why"> {
  const { state, cause, asideUntilMs, probe } = health;
  if (state === "down") return { state, why: cause };
  if (asideUntilMs > nowMs)
    return { state: "aside", why: `for ${((asideUntilMs - nowMs) / 1000).toFixed(1)} s more: ${cause}` };
  if (asideUntilMs !== 0) return { state: "aside", why: `until one request has tried it: ${cause}` };
  return { state: probe ? state : "unchecked", why: "" };
}
