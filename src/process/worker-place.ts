/** WorkerPlace: one worker, whichever process is it at the moment: started, listened to, and replaced when it ends or hangs. */
import type { WorkerView } from "../control/fleet.ts";
import type { Journal } from "../control/journal.ts";
import {
  workerAgainMs,
  workerAgainMsMax,
  workerBeatMs,
  workerSettledMs,
  workerSilentBeatsMax,
  workerStartWaitMs,
} from "../lib/limits.ts";
import { ownProgram } from "./program.ts";
import { workerVariable, type Answer, type Ask, type Figures, type Order, type Report } from "./wire.ts";

export interface PlaceOptions {
  /** from 1 */
  readonly number: number;
  readonly journal: Journal;
  /** of the memory that all share; inherited as `sharedDescriptor` */
  readonly descriptor: number;
  /** what a process that has just been started is told; undefined = nothing yet */
  begin(): Order | undefined;
  heard(report: Report, place: WorkerPlace): void;
  /** its process is gone; another one may be started */
  ended(place: WorkerPlace): void;
}

/** A question that waits for its answer. */
interface Waiting {
  readonly kind: Ask["kind"];
  readonly resolve: (answer: Answer | undefined) => void;
  readonly timer: NodeJS.Timeout;
}

type Question = Ask extends infer One ? (One extends Ask ? Omit<One, "id"> : never) : never;

const noFigures: Figures = {
  open: 0,
  openBy: {},
  inFlight: new Map(),
  residentBytes: 0,
  openFiles: 0,
  cpuSeconds: 0,
  logLinesLost: 0,
  version: "",
};

export class WorkerPlace {
  state: WorkerView["state"] = "starting";
  restarts = 0;
  figures = noFigures;
  /** of processes that are gone */
  formerCpuSeconds = 0;
  formerLogLinesLost = 0;
  readonly #options: PlaceOptions;
  #child: Bun.Subprocess<"ignore", "inherit", "inherit"> | undefined;
  #begun = false;
  #sinceMs = Date.now();
  #startedMs = 0;
  /** looks at which it had said nothing since the one before */
  #silentBeats = 0;
  readonly #clock: NodeJS.Timeout;
  /** lives in a row that were short */
  #shortLives = 0;
  #again: NodeJS.Timeout | undefined;
  #asked = 0;
  readonly #waiting = new Map<number, Waiting>();
  /** why the process says that it cannot serve */
  #failure = "";
  #stopping = false;
  readonly #gone = Promise.withResolvers<void>();
  readonly #left = Promise.withResolvers<void>();

  constructor(options: PlaceOptions) {
    this.#options = options;
    this.#clock = setInterval(() => this.#look(), workerBeatMs);
    this.#spawn();
  }

  /** Its process does not listen any more, or is gone for good. */
  get left(): Promise<void> {
    return this.#left.promise;
  }

  get number(): number {
    return this.#options.number;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** It has been told what to serve. */
  get begun(): boolean {
    return this.#begun;
  }

  get view(): WorkerView {
    const { state, restarts, pid } = this;
    const { version, open, residentBytes } = this.figures;
    return { worker: this.number, pid, state, version, sinceMs: this.#sinceMs, restarts, open, residentBytes };
  }

  /** Tells the process what to serve, if there is one that has not been told. */
  begin(): void {
    const order = this.#begun ? undefined : this.#options.begin();
    if (!order || !this.#child) return;
    this.#begun = true;
    this.#send(order);
  }

  /** To a process that has begun; others are told everything when they do. */
  send(order: Order): void {
    if (this.#begun) this.#send(order);
  }

  /**
   * @returns undefined when the process ends before it answers, or has none to answer
   * @throws Error when there is no answer in time
   */
  ask(question: Question, waitMs: number): Promise<Answer | undefined> {
    if (!this.#begun) return Promise.resolve(undefined);
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`worker ${this.number} (pid ${this.pid}) did not answer within ${waitMs / 1000} s`));
      }, waitMs);
      this.#waiting.set(id, { kind: question.kind, resolve, timer });
      this.#send({ ...question, id } as Ask);
    });
  }

  /** It is not replaced any more. Resolves when its process is gone. */
  async leave(): Promise<void> {
    this.#stopping = true;
    this.state = "stopping";
    clearTimeout(this.#again);
    if (!this.#child) this.#over();
    await this.#gone.promise;
  }

  /** Ends the process at once. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  #spawn(): void {
    const { number, descriptor } = this.#options;
    this.state = "starting";
    this.figures = noFigures;
    this.#begun = false;
    this.#failure = "";
    this.#silentBeats = 0;
    this.#sinceMs = Date.now();
    this.#startedMs = performance.now();
    try {
      // The last words are for whoever looks at the list of processes.
      const child = Bun.spawn([...ownProgram(), "worker", String(number)], {
        stdio: ["ignore", "inherit", "inherit", descriptor],
        env: { ...process.env, [workerVariable]: String(number) },
        serialization: "advanced",
        ipc: (report: Report) => this.#heard(child, report),
        onExit: (_child, exitCode, signal) => this.#exited(child, exitCode, signal),
      }) as Bun.Subprocess<"ignore", "inherit", "inherit">;
      this.#child = child;
    } catch (error) {
      this.#options.journal.log.error("worker", `Cannot start worker ${number}: ${(error as Error).message}`);
      return this.#scheduleAgain();
    }
    this.begin();
  }

  #send(order: Order): void {
    try {
      this.#child?.send(order);
    } catch {
      // It has just ended, which is told apart.
    }
  }

  #heard(child: unknown, report: Report): void {
    if (child !== this.#child) return;
    this.#silentBeats = 0;
    switch (report.kind) {
      case "answer": {
        const waiting = this.#waiting.get(report.id);
        this.#waiting.delete(report.id);
        clearTimeout(waiting?.timer);
        return waiting?.resolve(report);
      }
      case "beat":
        this.figures = { ...this.figures, open: report.open };
        return;
      case "figures":
        this.figures = report.figures;
        break;
      case "listening":
        if (!this.#stopping) this.state = "serving";
        break;
      case "failed":
        this.#failure = report.message;
        this.#child?.disconnect();
        break;
      case "left":
        return this.#left.resolve();
      case "ended":
        this.#child?.disconnect();
        return;
    }
    this.#options.heard(report, this);
  }

  /** While it compiles rules it cannot speak; whoever asked it to has a bound of its own. */
  #look(): void {
    if (!this.#child || [...this.#waiting.values()].some(({ kind }) => kind === "prepare")) return;
    this.#silentBeats++;
    const starting = this.state === "starting";
    const most = starting ? workerStartWaitMs / workerBeatMs : workerSilentBeatsMax;
    if (this.#silentBeats <= most || (starting && !this.#begun)) return;
    const silentMs = this.#silentBeats * workerBeatMs;
    this.#failure = `silent for ${silentMs / 1000} s`;
    this.kill();
  }

  #exited(child: unknown, exitCode: number | null, signal: number | NodeJS.Signals | null): void {
    if (child !== this.#child) return;
    const { pid, number } = this;
    const how = signal === null ? `exit code ${exitCode}` : `signal ${signal}`;
    const why = this.#failure === "" ? how : `${how}, ${this.#failure}`;
    this.#child = undefined;
    this.#begun = false;
    this.formerCpuSeconds += this.figures.cpuSeconds;
    this.formerLogLinesLost += this.figures.logLinesLost;
    this.figures = noFigures;
    for (const [id, { resolve, timer }] of this.#waiting) {
      clearTimeout(timer);
      this.#waiting.delete(id);
      resolve(undefined);
    }
    this.#options.ended(this);
    if (this.#stopping) return this.#over();
    this.restarts++;
    const waitMs = this.#waitMs();
    const next = waitMs === 0 ? "another one is started" : `another one is started in ${waitMs / 1000} s`;
    this.#options.journal.log.error("worker", `worker ${number} (pid ${pid}) has ended (${why}): ${next}`);
    if (waitMs === 0) this.#spawn();
    else this.#scheduleAgain(waitMs);
  }

  /** At once, unless it keeps dying soon. */
  #waitMs(): number {
    if (performance.now() - this.#startedMs >= workerSettledMs) this.#shortLives = 0;
    this.#shortLives++;
    if (this.#shortLives === 1) return 0;
    return Math.min(workerAgainMs * 2 ** (this.#shortLives - 2), workerAgainMsMax);
  }

  #scheduleAgain(waitMs = workerAgainMsMax): void {
    this.state = "waiting";
    this.#again = setTimeout(() => this.#spawn(), waitMs);
  }

  #over(): void {
    clearInterval(this.#clock);
    this.#left.resolve();
    this.#gone.resolve();
  }
}
