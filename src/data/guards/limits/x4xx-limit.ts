/** `x4xx_limit`: answers 400–499 a second per client and host; who has had so many gets 429 until the window ends. */
import type { Exchange, ExchangeWatcher } from "../../exchange.ts";
import type { Ending } from "../../plane.ts";
import { watch, type Guard, type Rehearsal, type Verdict } from "../guard.ts";
import { clientKey } from "./client-key.ts";
import type { Scope } from "./scope.ts";
import { tooMany } from "./too-many.ts";
import type { Windows } from "./windows.ts";

export class X4xxLimit implements Guard, ExchangeWatcher {
  readonly name = "x4xx_limit";

  /** @param most such answers in a window */
  constructor(
    readonly most: number,
    readonly scope: Scope,
    readonly windows: Windows,
  ) {}

  check(exchange: Exchange): Verdict {
    const key = clientKey(exchange.client);
    const nowMs = exchange.startedMs;
    if (this.windows.count(this.scope, key, nowMs) >= this.most)
      return tooMany("x4xx_limit", this.most, this.windows.leftMs(this.scope, key, nowMs));
    watch(exchange, this);
    return undefined;
  }

  rehearse({ client, startedMs }: Exchange): Rehearsal {
    const key = clientKey(client);
    const count = this.windows.count(this.scope, key, startedMs);
    const leftMs = this.windows.leftMs(this.scope, key, startedMs);
    return {
      verdict: count >= this.most ? tooMany("x4xx_limit", this.most, leftMs) : undefined,
      note: `${count} of ${this.most} answers 400 to 499 to this client in its second`,
    };
  }

  over(exchange: Exchange, { status, cut }: Ending): void {
    if (status < 400 || status > 499) return;
    // Our own 429 would prolong itself (B4), and 499 is no answer: the client had left.
    if ((status === 429 && exchange.deniedBy !== "") || (status === 499 && cut)) return;
    this.windows.add(this.scope, clientKey(exchange.client), performance.now());
  }
}
