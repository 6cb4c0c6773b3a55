/** `max_concurrent`: requests in flight per client and host; a WebSocket or tunnel is in flight for as long as it lives. */
import type { Exchange, ExchangeWatcher, OwnReply } from "../../exchange.ts";
import { refuse, watch, type Guard, type Rehearsal, type Verdict } from "../guard.ts";
import { clientKey } from "./client-key.ts";
import type { InFlight } from "./in-flight.ts";
import type { Scope } from "./scope.ts";

export class MaxConcurrent implements Guard, ExchangeWatcher {
  readonly name = "max_concurrent";

  constructor(
    readonly most: number,
    readonly scope: Scope,
    readonly inFlight: InFlight,
  ) {}

  /** Stands before every guard that waits: an exchange that is over already would never leave again. */
  check(exchange: Exchange): Verdict {
    if (!this.inFlight.enter(this.scope, clientKey(exchange.client), this.most)) return this.#tooMany();
    watch(exchange, this);
    return undefined;
  }

  rehearse({ client }: Exchange): Rehearsal {
    const key = clientKey(client);
    const entered = this.inFlight.enter(this.scope, key, this.most);
    if (entered) this.inFlight.leave(this.scope, key);
    const note = `at most ${this.most} requests of this client at once`;
    return { verdict: entered ? undefined : this.#tooMany(), note };
  }

  #tooMany(): OwnReply {
    return refuse(
      429,
      "too many requests at once, try again in a moment",
      [["Retry-After", "1"]],
      `more than \`max_concurrent: ${this.most}\` in flight`,
    );
  }

  over(exchange: Exchange): void {
    this.inFlight.leave(this.scope, clientKey(exchange.client));
  }
}
