/** Plane: everything one data plane needs to serve: the live table, the ledger, the forwarders, the log. */
import type { AddressSet } from "../lib/address.ts";
import { RetryBudget } from "./forward/retry-budget.ts";
import type { Forwarder } from "./forward/forwarder.ts";
import type { Exchange } from "./exchange.ts";
import type { Failure } from "./failure.ts";
import { GuardState } from "./guards/state.ts";
import type { Table } from "./routing/table.ts";
import { Metrics } from "./observe/metrics.ts";
import type { RouteCounters } from "./observe/route-counters.ts";
import { Refusals } from "./observe/refusals.ts";
import type { SharedState } from "./shared-state.ts";
import { Ledger, type Aside } from "./upstream/ledger.ts";

/** What the plane tells about each exchange when it is over. */
export interface Ending {
  readonly status: number;
  readonly bytesOut: number;
  /** the answer did not reach the client whole */
  readonly cut: boolean;
  /** why it was cut, where that is known and not the client's doing */
  readonly failure?: Failure | undefined;
  /** the status of a gRPC call, where it is known; its HTTP status is nearly always 200 */
  readonly grpcStatus?: number | undefined;
}

export interface PlaneOptions {
  readonly forwarder: Forwarder;
  /** carries requests that ask for another protocol; sweeping and closing it reaches the other forwarders too */
  readonly tunnels: Forwarder;
  readonly trustedProxies: AddressSet;
  /** our CDN-Loop id, made at start */
  readonly loopMark: string;
  /** seconds for Retry-After when all members are down */
  readonly retryAfterSeconds: number;
  /** main.yaml, as `aralez explain -c` finds it; absent where there is none */
  readonly mainFile?: string | undefined;
  log(level: "error" | "warn" | "info" | "debug", target: string, text: string): void;
  /** Tells other processes that a member was put aside, or answers again; absent where there are none. */
  aside?: ((aside: Aside) => void) | undefined;
  /**
   * Called once per exchange, after its answer was written or cut.
   * @param unrouted where the metrics count it if it has no route
   */
  ended(exchange: Exchange, ending: Ending, unrouted?: RouteCounters): void;
}

export class Plane {
  readonly ledger: Ledger;
  readonly retryBudget = new RetryBudget();
  readonly guardState: GuardState;
  /** clients that all listeners turned away */
  readonly refusals = new Refusals();
  readonly metrics = new Metrics();
  /** read once per exchange: each sees one table for life */
  table: Table = {
    version: "",
    hosts: new Map(),
    wildcards: [],
    fallback: undefined,
    clientPolicy: undefined,
    routes: [],
    unmatchedStatus: 404,
    retryBudgetPercent: 20,
  };

  /**
   * @param options SIGHUP replaces them whole
   * @param shared what limits and turns count together with other workers; absent where there are none
   */
  constructor(
    public options: PlaneOptions,
    shared?: SharedState,
  ) {
    this.ledger = new Ledger(shared?.turns);
    this.guardState = new GuardState(shared);
  }
}
