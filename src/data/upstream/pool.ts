/** Pool: a route's members and the policy that picks one of the ready ones. */
import type { Protocol } from "../../lib/address.ts";
import type { Endpoint, Health, Wire } from "./endpoint.ts";
import type { Turn } from "./turn.ts";

/** An endpoint as one route sees it. */
export interface Member {
  readonly endpoint: Endpoint;
  readonly health: Health;
  readonly healthKey: string;
  readonly weight: number;
  /** as configured; `auto` only where detection runs */
  readonly protocol: Protocol;
  /** its id in the sticky cookie; "" without stickiness */
  readonly stickyId: string;
}

/** What the member speaks, as far as known. */
export function wireOf(member: Member): Wire {
  if (member.protocol === "https") return member.endpoint.wire === "h2" ? "h2" : "https";
  if (member.protocol !== "auto") return member.protocol;
  return member.endpoint.wire ?? "http";
}

export class Pool {
  /** members repeated by weight, interleaved, so that one counter gives weighted round robin */
  readonly #ring: readonly Member[];
  /** empty without stickiness */
  readonly byStickyId: ReadonlyMap<string, Member>;

  constructor(
    readonly members: readonly Member[],
    readonly turn: Turn,
  ) {
    this.#ring = interleave(members);
    this.byStickyId = new Map(members.filter((m) => m.stickyId !== "").map((m) => [m.stickyId, m]));
  }

  /**
   * The next ready member that was not tried yet. Passive ejection never takes the last usable member: when all that
   * active checks leave are aside, they are used nevertheless.
   * @returns undefined when every member is down or was tried
   */
  pick(nowMs: number, tried: readonly Member[]): Member | undefined {
    // Members tried in this exchange just failed; what is left is aside, but better than no answer.
    return this.#next(nowMs, tried, false) ?? this.#next(nowMs, tried, true);
  }

  #next(nowMs: number, tried: readonly Member[], evenAside: boolean): Member | undefined {
    const ring = this.#ring;
    const { turn } = this;
    let from = turn.next;
    // The counter outlives tables: this ring may be shorter than the one before.
    let at = from < ring.length ? from : 0;
    for (let i = 0; i < ring.length; i++) {
      const member = ring[at]!;
      if (++at === ring.length) at = 0;
      const { health } = member;
      if (!(evenAside ? health.state !== "down" : health.ready(nowMs)) || tried.includes(member)) continue;
      if (turn.advance(from, at)) return member;
      // Another worker has taken this turn: the next one is looked for.
      from = turn.next;
      at = from < ring.length ? from : 0;
      i = -1;
    }
    return undefined;
  }

  /** True when active checks hold every member for down. */
  get allDown(): boolean {
    return this.members.every((member) => member.health.state === "down");
  }
}

/** Smooth weighted order: with weights 2 and 1 the ring is A B A. Weights are divided by their common divisor first. */
function interleave(members: readonly Member[]): readonly Member[] {
  const divisor = members.reduce((d, m) => gcd(d, m.weight), 0) || 1;
  const weights = members.map((m) => m.weight / divisor);
  const total = weights.reduce((sum, w) => sum + w, 0);
  const credit = weights.map(() => 0);
  return Array.from({ length: total }, () => {
    let best = 0;
    weights.forEach((weight, i) => {
      credit[i]! += weight;
      if (credit[i]! > credit[best]!) best = i;
    });
    credit[best]! -= total;
    return members[best]!;
  });
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
