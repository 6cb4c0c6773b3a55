/**
 * Succession: the running process's side of an upgrade. It starts a successor or is called by one, goes on serving until
 * that is ready, sees to it that no new connection is lost between the two, and leaves.
 */
import { upgradeAnswerWaitMs, upgradeLingerMs, upgradeQuitWaitMs, upgradeReadyWaitMs } from "../../lib/limits.ts";
import type { PortShare, Steer } from "../../data/listen/hand-over.ts";
import type { Running } from "../../control/control.ts";
import type { Notifier } from "../systemd.ts";
import { openChannel, type Channel, type Message } from "./channel.ts";

export interface SuccessionOptions {
  readonly name: string;
  /** the proxy that is to be succeeded */
  readonly running: Pick<Running, "shares" | "steer">;
  readonly notifier: Notifier;
  log(level: "info" | "warn" | "error", text: string): void;
  /** Starts the successor. @returns the child */
  spawn(): { readonly pid: number; readonly exited: Promise<number>; kill(): void };
  /** Drains and ends. @param left to be called when nothing is accepted any more and all addresses are free */
  leave(left: () => void): Promise<void>;
  /** nobody came after SIGQUIT: an ordinary end */
  stop(): Promise<void>;
}

export class Succession {
  #door: { close(): void } | undefined;
  /** a successor that was agreed with */
  #successor: number | undefined;
  #quitting = false;
  #ending = false;
  readonly #ended = Promise.withResolvers<"succeeded" | "stopped">();
  /** set while a successor of our own making is on its way */
  #child: Promise<number> | undefined;
  #outcome: ((pid: number | Error) => void) | undefined;

  constructor(readonly options: SuccessionOptions) {}

  /** Settles when this process has left its work to a successor, or has ended after a SIGQUIT that nobody followed. */
  get ended(): Promise<"succeeded" | "stopped"> {
    return this.#ended.promise;
  }

  /** A successor serves, or is about to: nothing is to be cut short now. */
  get succeeded(): boolean {
    return this.#ending;
  }

  /** Can be called from now on. @throws Error when another process has the name */
  open(): void {
    this.#door = openChannel(this.options.name, (channel) => void this.#called(channel));
  }

  /** No successor is accepted any more. */
  close(): void {
    this.#door?.close();
    this.#door = undefined;
  }

  /** SIGQUIT: somebody is about to start a successor, or has; without one this is an ordinary end. */
  async quit(): Promise<void> {
    if (this.#quitting || this.#ending) return;
    this.#quitting = true;
    this.options.log(
      "info",
      `SIGQUIT: serving on for at most ${upgradeQuitWaitMs / 1000} s, until a successor is ready`,
    );
    const untilMs = performance.now() + upgradeQuitWaitMs;
    while (!this.#ending && (performance.now() < untilMs || this.#successor !== undefined)) await Bun.sleep(50);
    if (this.#ending) return;
    this.#ending = true;
    this.options.log("info", "no successor came");
    this.close();
    await this.options.stop();
    this.#ended.resolve("stopped");
  }

  /**
   * Starts the program that lies on the disk now, with the same arguments, and leaves when it is ready.
   * @returns the successor's pid
   * @throws Error, ready to print, when it did not come up; this process goes on
   */
  upgrade(): Promise<number> {
    return (this.#child ??= this.#upgrade().finally(() => (this.#child = undefined)));
  }

  async #upgrade(): Promise<number> {
    const { log, spawn } = this.options;
    // A container ends with its first process.
    if (process.pid === 1) throw new Error("this process is the first of its container, which would end with it");
    if (this.#successor !== undefined) throw new Error(`process ${this.#successor} is taking over already`);
    const child = spawn();
    log("info", `upgrade: started process ${child.pid}`);
    const { promise, resolve } = Promise.withResolvers<number | Error>();
    this.#outcome = resolve;
    void child.exited.then((code) =>
      resolve(new Error(`process ${child.pid} ended with code ${code} before it was ready`)),
    );
    const timer = setTimeout(() => {
      child.kill();
      resolve(new Error(`process ${child.pid} was not ready after ${upgradeReadyWaitMs / 1000} s and was ended`));
    }, upgradeReadyWaitMs);
    const outcome = await promise;
    clearTimeout(timer);
    this.#outcome = undefined;
    if (typeof outcome === "number") return outcome;
    log("error", `upgrade failed, this process goes on: ${outcome.message}`);
    throw outcome;
  }

  async #called(channel: Channel): Promise<void> {
    const message = await channel.next(upgradeAnswerWaitMs);
    if (message?.kind === "upgrade") await this.#answerUpgrade(channel);
    else if (message?.kind === "take") await this.#beSucceeded(channel, message);
    channel.close();
  }

  async #answerUpgrade(channel: Channel): Promise<void> {
    try {
      channel.send({ kind: "upgraded", pid: await this.upgrade() });
    } catch (error) {
      channel.send({ kind: "refused", why: (error as Error).message });
    }
  }

  async #beSucceeded(channel: Channel, { pid, version }: Message & { kind: "take" }): Promise<void> {
    const { log, running, notifier } = this.options;
    const busy = this.#ending
      ? "it is stopping"
      : this.#successor !== undefined && `process ${this.#successor} is taking over`;
    if (busy) return channel.send({ kind: "refused", why: busy });
    this.#successor = pid;
    log("info", `process ${pid} (${version}) is taking over`);
    // Its sockets join ours one by one: what comes stays here until it is ready.
    const ours = running.shares();
    running.steer(ours.map(({ port, sockets }) => ({ port, first: 0, count: sockets })));
    const ports = ours.map(({ port }) => port);
    channel.send({
      kind: "given",
      pid: process.pid,
      ports,
      manager: notifier.manager,
      quitting: this.#quitting || this.#child !== undefined,
    });
    const answer = await channel.next(upgradeReadyWaitMs);
    if (answer?.kind === "ready") return this.#leave(channel, pid, ours, answer.ports);
    running.steer(toAll(ports));
    this.#successor = undefined;
    const why = answer?.kind === "failed" ? answer.why : "it ended before it was ready";
    log("error", `process ${pid} did not take over, this process goes on: ${why}`);
    this.#outcome?.(new Error(why));
  }

  async #leave(channel: Channel, pid: number, ours: readonly PortShare[], theirs: readonly PortShare[]): Promise<void> {
    const { log, running, notifier, leave } = this.options;
    const beganMs = performance.now();
    this.#ending = true;
    running.steer(pastOurs(ours, theirs));
    log("info", `process ${pid} is ready: it gets all new connections`);
    const { promise: taken, resolve } = Promise.withResolvers<void>();
    const drained = leave(() => {
      this.close();
      notifier.handOver(pid);
      channel.send({ kind: "gone" });
      // The pid file is to name a process that runs, from the one to the other.
      void channel.next(upgradeAnswerWaitMs).then(() => {
        this.#outcome?.(pid);
        resolve();
      });
    });
    await drained;
    await taken;
    const lingerMs = this.#quitting ? 0 : upgradeLingerMs - (performance.now() - beganMs);
    if (lingerMs > 0) await Bun.sleep(lingerMs);
    this.#ended.resolve("succeeded");
  }
}

/** Sockets stand in the order of their listen(): theirs come after all of ours. A port that they do not have keeps ours. */
function pastOurs(ours: readonly PortShare[], theirs: readonly PortShare[]): Steer[] {
  return ours.flatMap(({ port, sockets }) => {
    const share = theirs.find((one) => one.port === port);
    return share ? [{ port, first: sockets, count: share.sockets }] : [];
  });
}

/** @returns that the kernel spreads new connections as it likes */
export function toAll(ports: readonly number[]): Steer[] {
  return ports.map((port) => ({ port, first: 0, count: 0 }));
}
