/**
 * `authorization: {type: forward}`: another service decides. Only its 2xx lets the request pass; anything else is the
 * client's answer as it is, and the upstream is never asked (A2).
 */
import { permissionBodyBytesMax } from "../../../lib/limits.ts";
import type { Answer, Exchange, Reply } from "../../exchange.ts";
import { Failure } from "../../failure.ts";
import type { Body, FieldLine } from "../../body.ts";
import type { Attempt, Forwarder } from "../../forward/forwarder.ts";
import { HeaderEdits, noEdits } from "../../headers/edits.ts";
import type { Route } from "../../routing/table.ts";
import type { Member } from "../../upstream/pool.ts";
import { refuse, type Guard, type Rehearsal, type Verdict } from "../guard.ts";
import type { CopyHeaders } from "./copy-headers.ts";
import { PermissionExchange } from "./permission-exchange.ts";

/** The service, as a forwarder sees it. */
export interface Permission {
  /** path and query of its URL */
  readonly target: string;
  readonly member: Member;
  /** for the request to the service: its Host, timeouts and trust */
  readonly route: Route;
  readonly timeoutMs: number;
  readonly copy: CopyHeaders;
}

export class ForwardGuard implements Guard {
  readonly name = "authorization";

  /** @param forwarder asked anew: SIGHUP may replace it */
  constructor(
    readonly permission: Permission,
    readonly forwarder: () => Forwarder,
  ) {}

  get trust() {
    return this.permission.route.trust;
  }

  async check(exchange: Exchange, route: Route): Promise<Verdict> {
    let answer: Answer;
    try {
      answer = await this.#ask(exchange);
    } catch (error) {
      if (error instanceof Failure) return unanswered(error);
      throw error;
    }
    if (answer.status < 200 || answer.status > 299) return this.#passOn(exchange, answer);
    if (answer.body) drain(answer.body);
    exchange.route = { ...route, requestEdits: this.#edits(exchange, route, answer) };
    return undefined;
  }

  rehearse(exchange: Exchange): Rehearsal {
    const { member, target } = this.permission;
    const method = exchange.method === "HEAD" ? "HEAD" : "GET";
    const note = `forward: ${method} ${target} would be asked of ${member.endpoint.name}; only its 2xx lets the request pass`;
    return { verdict: undefined, note, open: true };
  }

  /** @throws Failure */
  #ask(exchange: Exchange): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const asking = new PermissionExchange(exchange, this.permission.target);
      exchange.onClientGone(() => asking.leave());
      this.forwarder().forward(new Question(asking, this.permission, resolve, reject));
    });
  }

  #passOn(exchange: Exchange, answer: Answer): Reply {
    exchange.deniedBy = this.name;
    return { passed: answer, status: answer.status, edits: noEdits, fields: [] };
  }

  /** What the client claims about itself goes, what the service says about it comes; the route's own rules win over both. */
  #edits(exchange: Exchange, { requestEdits }: Route, answer: Answer): Route["requestEdits"] {
    const { copy } = this.permission;
    const drop = new Set([...requestEdits.drop, ...copy.exact]);
    const lines: FieldLine[] = [];
    answer.eachField((name, value) => {
      const lower = name.toLowerCase();
      if (copy.copies(lower) && !requestEdits.drop.has(lower)) lines.push([name, value]);
    });
    for (const [name] of lines) drop.add(name.toLowerCase());
    exchange.eachField((name) => {
      const lower = name.toLowerCase();
      if (lower.startsWith("remote-")) drop.add(lower);
    });
    return new HeaderEdits(drop, [...lines, ...requestEdits.lines], requestEdits.host);
  }
}

/** One request to the service, with one time for all its steps: the forwarder's own times begin anew with each of them. */
class Question implements Attempt {
  readonly body = undefined;
  readonly beganMs = performance.now();
  readonly route: Route;
  readonly member: Member;
  readonly #timer: ReturnType<typeof setTimeout>;
  #settled = false;

  constructor(
    readonly exchange: PermissionExchange,
    { route, member, timeoutMs }: Permission,
    private readonly onAnswer: (answer: Answer) => void,
    private readonly onFailure: (failure: Failure) => void,
  ) {
    this.route = route;
    this.member = member;
    this.#timer = setTimeout(() => {
      this.failed(
        new Failure("first_byte_timeout", `${member.endpoint.name} did not answer within ${timeoutMs / 1000} s`),
      );
      exchange.leave();
    }, timeoutMs);
  }

  again(): boolean {
    return true;
  }

  answered(answer: Answer): void {
    if (this.#settle()) this.onAnswer(answer);
    else answer.body?.cancel();
  }

  failed(failure: Failure): void {
    if (this.#settle()) this.onFailure(failure);
  }

  #settle(): boolean {
    if (this.#settled) return false;
    clearTimeout(this.#timer);
    return (this.#settled = true);
  }
}

/** Never "allowed": 504 when it is late, 502 for anything else (contract, section 14). */
function unanswered(failure: Failure): Reply {
  const cause = `authorization: ${failure.code}: ${failure.message}`;
  if (failure.status === 504) return refuse(504, "the authorization service did not answer in time", [], cause);
  if (failure.code === "client_gone") return refuse(failure.status, "the client left", [], cause);
  return refuse(502, "the authorization service could not be reached or gave no valid answer", [], cause);
}

/** Reads a body that nobody wants, so that its connection can be used again; a long one is not worth it. */
function drain(body: Body): void {
  let bytes = 0;
  body.start({
    write(chunk) {
      bytes += chunk.length;
      if (bytes > permissionBodyBytesMax) body.cancel();
      return bytes <= permissionBodyBytesMax;
    },
    end() {},
    fail() {},
  });
}
