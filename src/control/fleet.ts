/** Fleet: the data planes under control: one in this process, or one in each of some workers. */
import type { Settings } from "../config/settings.ts";
import type { Challenges } from "../data/acme/challenges.ts";
import type { Explanation } from "../data/explain/explain.ts";
import type { Question } from "../data/explain/question.ts";
import type { PortShare, Steer } from "../data/listen/hand-over.ts";
import type { Plane } from "../data/plane.ts";
import type { Rules } from "../data/routing/rules.ts";
import type { CertificateSet } from "../data/tls/certificate-set.ts";
import type { Wire } from "../data/upstream/endpoint.ts";
import type { Fact } from "../data/upstream/ledger.ts";
import type { Snapshot } from "./health/monitor.ts";
import type { Journal } from "./journal.ts";
import type { Publisher } from "./publisher.ts";
import type { Serving } from "./serving.ts";

/** Rules and the hash that names them. */
export interface Edition {
  readonly rules: Rules;
  readonly version: string;
}

export interface ListenerView {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  /** exchanges under way */
  readonly open: number;
}

/** What is known of one worker. */
export interface WorkerView {
  /** from 1 */
  readonly worker: number;
  /** 0 while there is no process */
  readonly pid: number;
  readonly state: "starting" | "serving" | "stopping" | "waiting";
  /** of the rules it serves; "" while it serves none */
  readonly version: string;
  /** milliseconds since 1970 */
  readonly sinceMs: number;
  /** times it was replaced */
  readonly restarts: number;
  /** exchanges under way */
  readonly open: number;
  readonly residentBytes: number;
}

/** What other processes use of the machine; for the metrics. */
export interface Usage {
  readonly residentBytes: number;
  readonly openFiles: number;
  /** of those that are gone too */
  readonly cpuSeconds: number;
  readonly logLinesLost: number;
}

/** A running process that this one takes over from. */
export interface Predecessor {
  /** on which it listens, and this process may beside it; its other addresses are free when it has left */
  readonly ports: ReadonlySet<number>;
}

export interface Fleet {
  /**
   * The plane that control looks at: the one that serves, or with workers one that serves nobody and knows what they know.
   * Control puts tables, facts and protocols into it itself.
   */
  readonly plane: Plane;
  readonly publisher: Publisher;
  /** those that are open; empty before {@link listen} */
  readonly listeners: readonly ListenerView[];
  /** of the TLS port, once it is open */
  readonly tlsEngine: "bun" | "socket" | undefined;
  /** whether the TLS port can answer TLS-ALPN-01 */
  readonly provesInHandshake: boolean;
  /** exchanges under way, as of the last sign of life */
  readonly open: number;
  /** of other processes than this one */
  readonly usage: Usage;
  /** empty when this process serves itself */
  readonly workers: readonly WorkerView[];

  /** Has every plane compile rules, which changes nothing yet. @throws Error why one cannot; then none will */
  prepare(edition: Edition): Promise<void>;
  /** Puts what was prepared last into force on all of them. */
  commit(): void;
  /** Opens all listeners. @throws StartError */
  listen(certificates: CertificateSet | undefined): Promise<void>;
  fact(fact: Fact): void;
  /** @param wire undefined = it could not be found out */
  detected(endpointName: string, wire: Wire | undefined): void;
  changed(before: Settings, after: Settings): void;
  certificates(set: CertificateSet): void;
  /** Whether ACME orders may be pending. */
  answering(isOn: boolean): void;
  /** Those of other processes; control has seen to its own. */
  reopenLogs(): void;
  /** What would become of a request, as the planes see it. */
  explain(question: Question): Promise<Explanation>;
  /** Brings counters and figures up to date; waits a bounded time for those who have them. */
  collect(): Promise<void>;
  /** How many sockets listen on each port. */
  shares(): readonly PortShare[];
  steer(steers: readonly Steer[]): void;
  /** As {@link Serving.drain}. */
  drain(deadlineMs: number, left?: () => void): Promise<void>;
  /** Ends everything at once, for a start that has failed. */
  close(): Promise<void>;
}

/** What a fleet is made with. */
export interface FleetGiven {
  settings(): Settings;
  readonly journal: Journal;
  readonly loopMark: string;
  readonly stickyKey: Uint8Array;
  readonly mainFile: string | undefined;
  readonly predecessor: Predecessor | undefined;
  readonly challenges: Challenges;
  /** what is known about the servers, for one that joins late */
  health(): Snapshot;
}
