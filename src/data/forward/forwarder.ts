/** Forwarder: carries an exchange to an endpoint by one protocol and hands back its answer. */
import type { Answer, Exchange } from "../exchange.ts";
import type { Body } from "../body.ts";
import type { Failure } from "../failure.ts";
import type { Route } from "../routing/table.ts";
import type { Member } from "../upstream/pool.ts";

/** One try at one member. Exactly one of {@link answered} and {@link failed} is called, once, perhaps before `forward` returns. */
export interface Attempt {
  readonly exchange: Exchange;
  readonly route: Route;
  readonly member: Member;
  /** the request body, from its beginning */
  readonly body: Body | undefined;
  /** when it began, by performance.now() */
  readonly beganMs: number;
  /**
   * Sets the request once more to its beginning, after an upstream dropped a kept-alive connection without a byte of answer.
   * @param unseen the upstream says that it has not looked at it (RFC 9113 8.7): then any method may
   * @returns false when it may not be repeated (contract, section 14)
   */
  again(unseen?: boolean): boolean;
  /**
   * The head of the answer is there; its body follows by itself.
   * @param nowMs performance.now(), as of when it was read
   */
  answered(answer: Answer, nowMs: number): void;
  failed(failure: Failure): void;
}

/** Connections of our own to upstreams, as seen by those of another version: one bound holds for all together. */
export interface Connections {
  /** busy and idle */
  readonly count: number;
  /** Closes an idle one, if there is one. */
  makeRoom(): boolean;
}

export interface Forwarder {
  forward(attempt: Attempt): void;
  /** Forgets connections of trust settings that no route uses any more. */
  sweep(inUse: ReadonlySet<string>): void;
  /** Closes idle connections; the forwarder stays usable. */
  close(): void;
}
