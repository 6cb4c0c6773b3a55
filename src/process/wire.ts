/** What supervisor and workers say to each other: plain data, over the channel that Bun.spawn makes. */
import type { Settings } from "../config/settings.ts";
import type { ChallengeChange } from "../data/acme/challenges.ts";
import type { Explanation } from "../data/explain/explain.ts";
import type { Question } from "../data/explain/question.ts";
import type { Steer } from "../data/listen/hand-over.ts";
import type { Tally } from "../data/observe/tally.ts";
import type { CertificateSet } from "../data/tls/certificate-set.ts";
import type { Wire } from "../data/upstream/endpoint.ts";
import type { Aside, Fact } from "../data/upstream/ledger.ts";

/** In the environment of a worker: its number, from 1. */
export const workerVariable = "ARALEZ_WORKER";
/** The descriptor by which a worker inherits the memory that all share. */
export const sharedDescriptor = 3;

/** Rules as JSON text, which is quicker to copy than what it says, and the hash that names them. */
export interface WiredEdition {
  readonly rules: string;
  readonly version: string;
}

/** Everything a worker needs before it opens its listeners. */
export interface Begin {
  readonly kind: "begin";
  readonly settings: Settings;
  readonly edition: WiredEdition;
  readonly loopMark: string;
  readonly stickyKey: Uint8Array;
  readonly mainFile: string | undefined;
  readonly certificates: CertificateSet | undefined;
  readonly isAnswering: boolean;
  readonly challenges: readonly ChallengeChange[];
  readonly facts: readonly Fact[];
  /** of endpoints whose protocol was asked for; undefined = it could not be found out */
  readonly wires: ReadonlyMap<string, Wire | undefined>;
  readonly asides: readonly Aside[];
}

/** Each wants an {@link Answer} by its `id`. */
export type Ask =
  | ({ readonly kind: "prepare"; readonly id: number } & WiredEdition)
  | { readonly kind: "figures"; readonly id: number }
  | { readonly kind: "explain"; readonly id: number; readonly question: Question };

/** From the supervisor to a worker. */
export type Order =
  | Begin
  | Ask
  /** puts into force what was prepared by this `id` */
  | { readonly kind: "commit"; readonly id: number }
  | { readonly kind: "abort"; readonly id: number }
  /** for a worker that was not there when the others prepared */
  | ({ readonly kind: "apply" } & WiredEdition)
  | { readonly kind: "settings"; readonly settings: Settings }
  | { readonly kind: "certificates"; readonly set: CertificateSet }
  | { readonly kind: "answering"; readonly isOn: boolean }
  | { readonly kind: "challenge"; readonly change: ChallengeChange }
  | { readonly kind: "fact"; readonly fact: Fact }
  | { readonly kind: "detected"; readonly name: string; readonly wire: Wire | undefined }
  | { readonly kind: "aside"; readonly aside: Aside }
  | { readonly kind: "reopen" }
  | { readonly kind: "steer"; readonly steers: readonly Steer[] }
  /** `succeeded`: new connections go to a successor already, and none may be lost */
  | { readonly kind: "drain"; readonly deadlineMs: number; readonly succeeded: boolean };

export interface WiredListener {
  readonly name: string;
  readonly url: string;
  readonly port: number;
}

/** How a worker is. */
export interface Figures {
  /** exchanges under way */
  readonly open: number;
  readonly openBy: Readonly<Record<string, number>>;
  /** requests on their way to upstream addresses, where there are any */
  readonly inFlight: ReadonlyMap<string, number>;
  readonly residentBytes: number;
  readonly openFiles: number;
  readonly cpuSeconds: number;
  readonly logLinesLost: number;
  /** of the rules in force */
  readonly version: string;
}

/** `problem` = it could not be done */
export type Answer = { readonly kind: "answer"; readonly id: number } & (
  { readonly problem: string } | { readonly explanation: Explanation } | { readonly done: true }
);

/** From a worker to the supervisor. */
export type Report =
  | {
      readonly kind: "listening";
      readonly listeners: readonly WiredListener[];
      readonly tlsEngine: "bun" | "socket" | undefined;
      readonly provesInHandshake: boolean;
    }
  /** it cannot serve; the message is ready to print */
  | { readonly kind: "failed"; readonly message: string }
  /** a sign of life */
  | { readonly kind: "beat"; readonly open: number }
  | { readonly kind: "figures"; readonly figures: Figures; readonly tally: Tally }
  | { readonly kind: "aside"; readonly aside: Aside }
  /** its ports are closed, while it drains */
  | { readonly kind: "left" }
  /** nothing more will be said: the channel may be closed */
  | { readonly kind: "ended" }
  | Answer;
