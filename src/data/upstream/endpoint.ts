/** Endpoint: one upstream address and its connection facts. Health: an endpoint under one probe. */
import { showAddress, type DialAddress, type Protocol } from "../../lib/address.ts";
import type { EndpointCounters } from "../observe/endpoint-counters.ts";
import type { StatusRanges } from "./rules.ts";

/** What detection found; `h2` is only told apart where ALPN said so. */
export type Wire = "http" | "https" | "h2" | "h2c";

export class Endpoint {
  readonly name: string;
  /** what speaking to it showed; undefined until the first verdict */
  wire: Wire | undefined;
  /** pending while the first verdict is on its way */
  detecting: Promise<void> | undefined;
  /** clock time (ms) of the last sign of life: a connect, an answer */
  heardMs = -Infinity;
  inFlight = 0;
  /** put here when a table that names it comes into force; services that guards ask have none */
  counters: EndpointCounters | undefined;
  /** the warning about its unverified certificate was given */
  warnedUnverified = false;

  constructor(readonly address: DialAddress) {
    this.name = showAddress(address);
  }
}

/** A health question: everything that may make the verdict differ. Plain data. */
export interface Probe {
  readonly protocol: Protocol;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly serverName: string;
  readonly verify: boolean;
  readonly caFile: string | undefined;
  readonly expect: StatusRanges;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** verdicts in a row needed to come up / go down */
  readonly rise: number;
  readonly fall: number;
}

/** How passive ejection is set for a member. */
export interface Ejection {
  /** 0 = off */
  readonly maxFails: number;
  readonly failMs: number;
}

/** The standing of one endpoint under one probe; lives in the Ledger, shared by the routes that ask the same question. */
export class Health {
  /** set by active checks */
  state: "unknown" | "up" | "down" = "unknown";
  /** why it is down, or why it was put aside last; "" = nothing known */
  cause = "";
  /** clock time until which passive ejection keeps it aside; 0 = not aside */
  asideUntilMs = 0;
  #failsMs: number[] = [];
  #trial = false;

  constructor(
    readonly endpoint: Endpoint,
    readonly probe: Probe | undefined,
    readonly ejection: Ejection,
  ) {}

  /**
   * May a request go there now? After its time aside, one request at a time tries it (half-open); the caller that
   * sends it calls {@link beginTrial}.
   */
  ready(nowMs: number): boolean {
    if (this.state === "down") return false;
    return this.asideUntilMs === 0 || (nowMs >= this.asideUntilMs && !this.#trial);
  }

  beginTrial(nowMs: number): void {
    if (this.asideUntilMs !== 0 && nowMs >= this.asideUntilMs) this.#trial = true;
  }

  /** The upstream answered, whatever the status. */
  succeeded(): void {
    this.asideUntilMs = 0;
    this.#trial = false;
    if (this.#failsMs.length > 0) this.#failsMs = [];
  }

  /** The exchange ended without telling anything about the upstream (client gone). */
  undecided(): void {
    this.#trial = false;
  }

  /** @returns true when this failure put the member aside */
  failed(nowMs: number, cause: string): boolean {
    const { maxFails, failMs } = this.ejection;
    if (maxFails === 0) return false;
    const wasTrial = this.#trial;
    this.#trial = false;
    this.#failsMs = this.#failsMs.filter((at) => nowMs - at < failMs);
    this.#failsMs.push(nowMs);
    if (!wasTrial && (this.asideUntilMs !== 0 || this.#failsMs.length < maxFails)) return false;
    this.asideUntilMs = nowMs + failMs;
    this.#failsMs = [];
    this.cause = cause;
    return true;
  }
}
