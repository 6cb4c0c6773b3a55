/** A worker: serves what its supervisor says, and ends with it. */
import { join } from "node:path";
import type { Settings } from "../config/settings.ts";
import { stateFolder } from "../control/certificates/folders.ts";
import { compileOn } from "../control/compile-on.ts";
import { Journal } from "../control/journal.ts";
import { ownFigures } from "../control/metrics/process-figures.ts";
import { Serving, warmUp } from "../control/serving.ts";
import { Challenges } from "../data/acme/challenges.ts";
import { explain } from "../data/explain/explain.ts";
import { steerHere } from "../data/listen/hand-over.ts";
import { Tallies } from "../data/observe/tally.ts";
import type { Compiled } from "../data/routing/compile.ts";
import type { Rules } from "../data/routing/rules.ts";
import { SharedState } from "../data/shared-state.ts";
import { libc } from "../lib/libc.ts";
import { workerBeatMs, workerFarewellMs, workerTallyBeats } from "../lib/limits.ts";
import { reportFaultsTo, surviveFaults } from "./faults.ts";
import { sharedDescriptor, type Begin, type Figures, type Order, type Report, type WiredEdition } from "./wire.ts";

/** Signals that reach a whole group of processes (a terminal, systemd) are the supervisor's to understand. */
const ignored = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/**
 * Serves until the supervisor says otherwise, or is gone.
 * @param number from 1
 * @returns the exit code
 */
export function runWorker(number: number): Promise<number> {
  for (const signal of ignored) process.on(signal, () => {});
  // One that hangs does not hear that the channel is closed. What it logged in the last 50 ms is lost by this.
  libc()?.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  surviveFaults();
  return new Promise((resolve) => {
    let worker: Promise<Worker> | undefined;
    let queue: Promise<unknown> = Promise.resolve();
    // Whoever hears nobody any more must not go on taking requests.
    process.on("disconnect", () => resolve(0));
    process.on("message", (order: Order) => {
      queue = queue
        .then(async () => {
          if (order.kind === "begin") worker = Worker.begin(number, order);
          else await (await worker)?.obey(order);
          await worker;
        })
        .catch((error: unknown) => fail(error, resolve));
    });
  });
}

/** Says why, and waits for the supervisor to hang up: what was said must not be lost with the process. */
function fail(error: unknown, end: (exitCode: number) => void): void {
  tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  setTimeout(end, workerFarewellMs, 1);
}

function tell(report: Report): void {
  process.send!(report);
}

class Worker {
  readonly #serving: Serving;
  readonly #journal: Journal;
  readonly #tallies: Tallies;
  readonly #begin: Begin;
  #settings: Settings;
  readonly #challenges: Challenges;
  #prepared: { readonly id: number; readonly compiled: Compiled } | undefined;
  #beats = 0;
  #process = ownFigures();

  private constructor(number: number, begin: Begin) {
    this.#begin = begin;
    this.#settings = begin.settings;
    const { loopMark, mainFile } = begin;
    const journal = new Journal(begin.settings, "follows");
    reportFaultsTo((text) => journal.log.error("proxy", text));
    const challenges = new Challenges(() => join(stateFolder(this.#settings), "challenges"));
    this.#challenges = challenges;
    this.#journal = journal;
    this.#serving = new Serving({
      settings: () => this.#settings,
      journal,
      loopMark,
      mainFile,
      challenges,
      sharesPort: true,
      aside: (aside) => tell({ kind: "aside", aside }),
      shared: SharedState.attach(sharedDescriptor, number - 1),
    });
    this.#tallies = new Tallies(this.#serving.plane);
  }

  /** @throws Error when it cannot serve */
  static async begin(number: number, begin: Begin): Promise<Worker> {
    const worker = new Worker(number, begin);
    await worker.#open();
    return worker;
  }

  async #open(): Promise<void> {
    const { edition, wires, facts, asides, challenges, isAnswering, certificates } = this.#begin;
    const { plane, publisher } = this.#serving;
    const nowMs = performance.now();
    publisher.publish(this.#compile(edition), wires);
    for (const [name, wire] of wires) publisher.detected(name, wire);
    for (const fact of facts) plane.ledger.apply(fact, nowMs);
    for (const aside of asides) plane.ledger.putAside(aside, nowMs);
    for (const change of challenges) this.#challenges.apply(change);
    this.#serving.answering(isAnswering);
    await warmUp();
    await this.#serving.listen(certificates);
    const { listeners, tlsEngine, provesInHandshake } = this.#serving;
    tell({
      kind: "listening",
      listeners: listeners.map(({ name, url, listener }) => ({ name, url, port: listener.port })),
      tlsEngine,
      provesInHandshake,
    });
    this.#tellFigures();
    setInterval(() => this.#beat(), workerBeatMs);
  }

  /** Orders are obeyed one after the other, except those that have to wait for others. */
  async obey(order: Exclude<Order, Begin>): Promise<void> {
    const serving = this.#serving;
    const { plane, publisher } = serving;
    switch (order.kind) {
      case "prepare":
        return this.#prepare(order.id, order);
      case "commit":
        if (this.#prepared?.id === order.id) this.#publish(this.#prepared.compiled);
        this.#prepared = undefined;
        return;
      case "abort":
        this.#prepared = undefined;
        return;
      case "apply":
        return this.#publish(this.#compile(order));
      case "figures":
        // Only when somebody asks: counting tens of thousands of open files takes its time.
        this.#process = ownFigures();
        this.#tellFigures();
        return tell({ kind: "answer", id: order.id, done: true });
      case "explain":
        // It may ask a key server, which nothing else has to wait for.
        explain(plane, order.question).then(
          (explanation) => tell({ kind: "answer", id: order.id, explanation }),
          (error: Error) => tell({ kind: "answer", id: order.id, problem: error.message }),
        );
        return;
      case "settings": {
        const before = this.#settings;
        this.#settings = order.settings;
        this.#journal.change(order.settings);
        return serving.changed(before);
      }
      case "certificates":
        return serving.certificates(order.set);
      case "answering":
        return serving.answering(order.isOn);
      case "challenge":
        return this.#challenges.apply(order.change);
      case "fact":
        return void plane.ledger.apply(order.fact, performance.now());
      case "detected":
        return publisher.detected(order.name, order.wire);
      case "aside":
        return plane.ledger.putAside(order.aside, performance.now());
      case "reopen":
        return this.#journal.reopen();
      case "drain":
        // Meanwhile it still answers what it is asked.
        return void this.#drain(order.deadlineMs, order.succeeded);
      case "steer":
        return order.steers.forEach(steerHere);
    }
  }

  #prepare(id: number, edition: WiredEdition): void {
    try {
      this.#prepared = { id, compiled: this.#compile(edition) };
      tell({ kind: "answer", id, done: true });
    } catch (error) {
      tell({ kind: "answer", id, problem: (error as Error).message });
    }
  }

  #compile({ rules, version }: WiredEdition): Compiled {
    const serving = this.#serving;
    return compileOn(serving.plane, JSON.parse(rules) as Rules, version, {
      settings: this.#settings,
      stickyKey: this.#begin.stickyKey,
      tlsPort: () => serving.tlsPort,
      clientCertificates: () => serving.tlsEngine !== "bun",
      // The supervisor has told them.
      remark() {},
      warn: (text) => this.#journal.log.warn("config", text),
      dryRun: false,
    });
  }

  #publish(compiled: Compiled): void {
    // In one turn of the loop: nothing may be counted between what is told and the new beginning.
    this.#tellFigures();
    this.#serving.publisher.publish(compiled);
    this.#tallies.rebase();
    this.#serving.policiesChanged();
  }

  #beat(): void {
    if (++this.#beats % workerTallyBeats === 0) this.#tellFigures();
    else tell({ kind: "beat", open: this.#serving.open });
  }

  #tellFigures(): void {
    tell({ kind: "figures", figures: this.#figures(), tally: this.#tallies.take() });
  }

  #figures(): Figures {
    const { open, listeners, plane } = this.#serving;
    const inFlight = new Map<string, number>();
    for (const endpoint of plane.ledger.endpoints())
      if (endpoint.inFlight > 0) inFlight.set(endpoint.name, endpoint.inFlight);
    return {
      open,
      openBy: Object.fromEntries(listeners.map(({ name, listener }) => [name, listener.open])),
      inFlight,
      ...this.#process,
      logLinesLost: this.#journal.lost,
      version: plane.table.version,
    };
  }

  async #drain(deadlineMs: number, succeeded: boolean): Promise<void> {
    await this.#serving.drain(deadlineMs, succeeded ? () => tell({ kind: "left" }) : undefined);
    this.#journal.close();
    this.#tellFigures();
    tell({ kind: "ended" });
  }
}
