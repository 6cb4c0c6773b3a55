/** OwnFleet: the one data plane of a proxy without workers, in this process. */
import type { Settings } from "../config/settings.ts";
import { explain, type Explanation } from "../data/explain/explain.ts";
import type { Question } from "../data/explain/question.ts";
import { sharesOf, steerHere, type PortShare, type Steer } from "../data/listen/hand-over.ts";
import type { Plane } from "../data/plane.ts";
import type { CertificateSet } from "../data/tls/certificate-set.ts";
import type { Fleet, FleetGiven, ListenerView, Usage, WorkerView } from "./fleet.ts";
import type { Publisher } from "./publisher.ts";
import { Serving, warmUp } from "./serving.ts";

export class OwnFleet implements Fleet {
  readonly workers: readonly WorkerView[] = [];
  readonly usage: Usage = { residentBytes: 0, openFiles: 0, cpuSeconds: 0, logLinesLost: 0 };
  readonly #serving: Serving;

  constructor(given: FleetGiven) {
    this.#serving = new Serving({ ...given, sharesPort: false });
  }

  get plane(): Plane {
    return this.#serving.plane;
  }

  get publisher(): Publisher {
    return this.#serving.publisher;
  }

  get listeners(): readonly ListenerView[] {
    return this.#serving.listeners.map(({ name, url, listener: { port, open } }) => ({ name, url, port, open }));
  }

  get tlsEngine(): "bun" | "socket" | undefined {
    return this.#serving.tlsEngine;
  }

  get provesInHandshake(): boolean {
    return this.#serving.provesInHandshake;
  }

  get open(): number {
    return this.#serving.open;
  }

  /** Control has compiled them for this plane already. */
  async prepare(): Promise<void> {}

  commit(): void {
    this.#serving.policiesChanged();
  }

  async listen(certificates: CertificateSet | undefined): Promise<void> {
    await warmUp();
    await this.#serving.listen(certificates);
  }

  fact(): void {}

  detected(): void {}

  changed(before: Settings): void {
    this.#serving.changed(before);
  }

  certificates(set: CertificateSet): void {
    this.#serving.certificates(set);
  }

  answering(isOn: boolean): void {
    this.#serving.answering(isOn);
  }

  reopenLogs(): void {}

  explain(question: Question): Promise<Explanation> {
    return explain(this.plane, question);
  }

  async collect(): Promise<void> {}

  shares(): readonly PortShare[] {
    return sharesOf(this.#serving.ports);
  }

  steer(steers: readonly Steer[]): void {
    steers.forEach(steerHere);
  }

  drain(deadlineMs: number, left?: () => void): Promise<void> {
    return this.#serving.drain(deadlineMs, left);
  }

  close(): Promise<void> {
    return this.#serving.close();
  }
}
