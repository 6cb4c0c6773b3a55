/** Forwarder: carries an exchange to an endpoint by one protocol and hands back its answer. */
import type { Answer, Exchange } from "../exchange.ts";
import type { Body } from "../body.ts";
import type { Route } from "../routing/table.ts";
import type { Member } from "../upstream/pool.ts";

/** One try at one member. */
export interface Attempt {
  readonly exchange: Exchange;
  readonly route: Route;
  readonly member: Member;
  /** the request body, from its beginning */
  readonly body: Body | undefined;
  /**
   * The request once more from its beginning, after an upstream dropped a kept-alive connection without a byte of
   * answer; undefined when it may not be repeated (contract, section 14).
   * @param unseen the upstream says that it has not looked at it (RFC 9113 8.7): then any method may
   */
  again(unseen?: boolean): { readonly body: Body | undefined } | undefined;
}

export interface Forwarder {
  /**
   * @returns the answer's head; its body follows by itself
   * @throws Failure when there is no answer
   */
  forward(attempt: Attempt): Promise<Answer>;
  /** Forgets connections of trust settings that no route uses any more. */
  sweep(inUse: ReadonlySet<string>): void;
  /** Closes idle connections; the forwarder stays usable. */
  close(): void;
}
