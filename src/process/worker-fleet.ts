/** WorkerFleet: data planes in processes of their own, all on the same ports. This one controls them and serves nobody. */
import type { Settings } from "../config/settings.ts";
import type { Edition, Fleet, FleetGiven, ListenerView, Usage, WorkerView } from "../control/fleet.ts";
import { nowhere } from "../control/offline-plane.ts";
import { Publisher } from "../control/publisher.ts";
import { StartError } from "../control/start-error.ts";
import { explain, type Explanation } from "../data/explain/explain.ts";
import type { Question } from "../data/explain/question.ts";
import { addTally } from "../data/observe/tally.ts";
import type { PortShare, Steer } from "../data/listen/hand-over.ts";
import { Plane, type PlaneOptions } from "../data/plane.ts";
import { SharedState } from "../data/shared-state.ts";
import type { CertificateSet } from "../data/tls/certificate-set.ts";
import type { Wire } from "../data/upstream/endpoint.ts";
import type { Fact } from "../data/upstream/ledger.ts";
import { AddressSet } from "../lib/address.ts";
import { workerDrainSlackMs, workerExplainWaitMs, workerFiguresWaitMs, workerPrepareWaitMs } from "../lib/limits.ts";
import { reservePorts } from "./ports.ts";
import type { Order, Report, WiredEdition, WiredListener } from "./wire.ts";
import { WorkerPlace } from "./worker-place.ts";

export class WorkerFleet implements Fleet {
  readonly plane: Plane;
  readonly publisher: Publisher;
  readonly #given: FleetGiven;
  readonly #shared: SharedState;
  readonly #places: WorkerPlace[];
  /** the settings with the ports that all listen on; undefined until it is time to listen */
  #ports: Partial<Settings> | undefined;
  #certificates: CertificateSet | undefined;
  #isAnswering = false;
  /** in force; workers that join late are told it */
  #edition: WiredEdition | undefined;
  #prepared: { readonly edition: WiredEdition; readonly by: ReadonlyMap<WorkerPlace, Preparation> } | undefined;
  #listening: Extract<Report, { kind: "listening" }> | undefined;
  /** ends the wait of the start */
  #started: PromiseWithResolvers<void> | undefined;

  /** @throws StartError */
  constructor(given: FleetGiven, workers: number) {
    this.#given = given;
    try {
      this.#shared = SharedState.create({ workers });
    } catch (error) {
      throw new StartError((error as Error).message);
    }
    this.plane = new Plane(this.#planeOptions(), this.#shared);
    this.publisher = new Publisher(this.plane);
    given.challenges.onChange = (change) => this.#tell({ kind: "challenge", change });
    // They start while the rules are read.
    this.#places = Array.from({ length: workers }, (_, i) => this.#open(i + 1));
  }

  get listeners(): readonly ListenerView[] {
    return (this.#listening?.listeners ?? []).map((listener: WiredListener) => ({
      ...listener,
      open: this.#sum(({ figures }) => figures.openBy[listener.name] ?? 0),
    }));
  }

  get tlsEngine(): "bun" | "socket" | undefined {
    return this.#listening?.tlsEngine;
  }

  get provesInHandshake(): boolean {
    return this.#listening?.provesInHandshake ?? false;
  }

  get open(): number {
    return this.#sum(({ figures }) => figures.open);
  }

  get usage(): Usage {
    return {
      residentBytes: this.#sum(({ figures }) => figures.residentBytes),
      openFiles: this.#sum(({ figures }) => figures.openFiles),
      cpuSeconds: this.#sum(({ figures, formerCpuSeconds }) => figures.cpuSeconds + formerCpuSeconds),
      logLinesLost: this.#sum(({ figures, formerLogLinesLost }) => figures.logLinesLost + formerLogLinesLost),
    };
  }

  get workers(): readonly WorkerView[] {
    return this.#places.map(({ view }) => view);
  }

  async prepare({ rules, version }: Edition): Promise<void> {
    const edition: WiredEdition = { rules: JSON.stringify(rules), version };
    const asked = this.#places.filter(({ begun }) => begun);
    const pids = new Map(asked.map((place) => [place, place.pid]));
    const by = new Map<WorkerPlace, Preparation>();
    const results = await Promise.allSettled(
      asked.map(async (place) => {
        const answer = await place.ask({ kind: "prepare", ...edition }, workerPrepareWaitMs);
        // Whoever has ended meanwhile has a successor, which is told the rules that are in force then.
        if (!answer) return;
        by.set(place, { id: answer.id, pid: pids.get(place)! });
        if ("problem" in answer) throw new Error(answer.problem);
      }),
    );
    const failed = results.find(({ status }) => status === "rejected");
    if (failed?.status !== "rejected") return void (this.#prepared = { edition, by });
    for (const [place, { id }] of by) place.send({ kind: "abort", id });
    throw failed.reason;
  }

  commit(): void {
    const { edition, by } = this.#prepared!;
    this.#edition = edition;
    this.#prepared = undefined;
    for (const place of this.#places) {
      const preparation = by.get(place);
      if (preparation?.pid === place.pid) place.send({ kind: "commit", id: preparation.id });
      else place.send({ kind: "apply", ...edition });
    }
  }

  async listen(certificates: CertificateSet | undefined): Promise<void> {
    this.#ports = reservePorts(this.#given.settings(), this.#given.predecessor);
    this.#certificates = certificates;
    this.#started = Promise.withResolvers();
    for (const place of this.#places) place.begin();
    await this.#started.promise;
    this.#started = undefined;
  }

  fact(fact: Fact): void {
    this.#tell({ kind: "fact", fact });
  }

  detected(name: string, wire: Wire | undefined): void {
    this.#tell({ kind: "detected", name, wire });
  }

  changed(): void {
    this.plane.options = this.#planeOptions();
    this.#tell({ kind: "settings", settings: this.#settings() });
  }

  certificates(set: CertificateSet): void {
    this.#certificates = set;
    this.#tell({ kind: "certificates", set });
  }

  answering(isOn: boolean): void {
    this.#isAnswering = isOn;
    this.#tell({ kind: "answering", isOn });
  }

  reopenLogs(): void {
    this.#tell({ kind: "reopen" });
  }

  async explain(question: Question): Promise<Explanation> {
    const place = this.#places.find(({ state }) => state === "serving");
    const answer = await place?.ask({ kind: "explain", question }, workerExplainWaitMs).catch(() => undefined);
    // What is counted and remembered in workers alone is missing here; the rest is the same.
    return answer && "explanation" in answer ? answer.explanation : explain(this.plane, question);
  }

  async collect(): Promise<void> {
    const { ledger } = this.plane;
    await Promise.allSettled(this.#places.map((place) => place.ask({ kind: "figures" }, workerFiguresWaitMs)));
    for (const endpoint of ledger.endpoints())
      endpoint.inFlight = this.#sum(({ figures }) => figures.inFlight.get(endpoint.name) ?? 0);
  }

  shares(): readonly PortShare[] {
    const sockets = this.#places.filter(({ state }) => state === "serving").length;
    return this.listeners.flatMap(({ port }) => (port > 0 ? [{ port, sockets }] : []));
  }

  /** What one says of a port holds for all that listen on it. */
  steer(steers: readonly Steer[]): void {
    this.#places.find(({ state }) => state === "serving")?.send({ kind: "steer", steers });
  }

  async drain(deadlineMs: number, left?: () => void): Promise<void> {
    if (left) void this.#allLeft().then(left);
    this.#tell({ kind: "drain", deadlineMs, succeeded: left !== undefined });
    const timer = setTimeout(() => this.#kill(), deadlineMs + workerDrainSlackMs);
    const leaving = Promise.all(this.#places.map((place) => place.leave()));
    for (const place of this.#places) if (!place.begun) place.kill();
    await leaving;
    clearTimeout(timer);
    this.#shared.close();
  }

  async close(): Promise<void> {
    const leaving = Promise.all(this.#places.map((place) => place.leave()));
    this.#kill();
    await leaving;
    this.#shared.close();
  }

  /** Resolves when no worker listens any more. */
  async #allLeft(): Promise<void> {
    await Promise.all(this.#places.map((place) => place.left));
  }

  #open(number: number): WorkerPlace {
    return new WorkerPlace({
      number,
      journal: this.#given.journal,
      descriptor: this.#shared.descriptor,
      begin: () => this.#begin(),
      heard: (report, place) => this.#heard(report, place),
      ended: (place) => {
        this.#shared.release(number - 1);
        this.#started?.reject(new StartError(`worker ${place.number} has ended before it could serve`));
      },
    });
  }

  /** What a worker is told first; undefined until it is time to listen. */
  #begin(): Order | undefined {
    if (!this.#ports || !this.#edition) return undefined;
    const { loopMark, stickyKey, mainFile, challenges, health } = this.#given;
    return {
      kind: "begin",
      settings: this.#settings(),
      edition: this.#edition,
      loopMark,
      stickyKey,
      mainFile,
      certificates: this.#certificates,
      isAnswering: this.#isAnswering,
      challenges: challenges.pending(),
      ...health(),
      asides: this.plane.ledger.asides(performance.now()),
    };
  }

  #heard(report: Report, place: WorkerPlace): void {
    switch (report.kind) {
      case "figures":
        return addTally(this.plane, report.tally);
      case "aside":
        this.plane.ledger.putAside(report.aside, performance.now());
        for (const other of this.#places) if (other !== place) other.send(report);
        return;
      case "listening":
        this.#listening = report;
        if (this.#places.every(({ state }) => state === "serving")) this.#started?.resolve();
        return;
      case "failed":
        this.#started?.reject(new StartError(report.message));
    }
  }

  #tell(order: Order): void {
    for (const place of this.#places) place.send(order);
  }

  #kill(): void {
    for (const place of this.#places) place.kill();
  }

  #sum(of: (place: WorkerPlace) => number): number {
    return this.#places.reduce((sum, place) => sum + of(place), 0);
  }

  #settings(): Settings {
    return { ...this.#given.settings(), ...this.#ports };
  }

  #planeOptions(): PlaneOptions {
    const { settings, loopMark, mainFile, journal } = this.#given;
    const { trusted_proxies, hc_interval } = settings();
    return {
      forwarder: nowhere,
      tunnels: nowhere,
      trustedProxies: new AddressSet(trusted_proxies),
      loopMark,
      retryAfterSeconds: Math.max(1, Math.ceil(hc_interval)),
      mainFile,
      log: journal.tell,
      ended() {},
    };
  }
}

/** Which process has prepared, and under which number. */
interface Preparation {
  readonly id: number;
  readonly pid: number;
}
