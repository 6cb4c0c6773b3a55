/** The successor: takes over from a running process of the same configuration, or finds none. */
import { upgradeAnswerWaitMs, upgradeGoneWaitMs } from "../../lib/limits.ts";
import type { PortShare } from "../../data/listen/hand-over.ts";
import type { Manager } from "../systemd.ts";
import { callChannel, type Channel } from "./channel.ts";

/** A running process that has agreed to be succeeded. */
export class Predecessor {
  private constructor(
    readonly channel: Channel,
    readonly pid: number,
    readonly ports: ReadonlySet<number>,
    readonly manager: Manager | undefined,
    /** it was told to leave, so that no more signals are on their way to it */
    readonly quitting: boolean,
  ) {}

  /**
   * @returns undefined when nobody runs with this configuration
   * @throws Error, ready to print, when somebody does and will not have a successor now
   */
  static async find(name: string, version: string): Promise<Predecessor | undefined> {
    const channel = await callChannel(name);
    if (!channel) return undefined;
    channel.send({ kind: "take", pid: process.pid, version });
    const answer = await channel.next(upgradeAnswerWaitMs);
    if (answer?.kind === "given")
      return new Predecessor(channel, answer.pid, new Set(answer.ports), answer.manager, answer.quitting);
    channel.close();
    const why = answer?.kind === "refused" ? answer.why : "it gave no answer";
    throw new Error(`Cannot take over from the running process: ${why}`);
  }

  /**
   * This process serves: waits until the other one accepts nothing more and has let go of what cannot be shared.
   * @param ports of this process's own listeners
   * @returns false when the other one does not come to an end: it is better left alone, and may still listen
   */
  async succeed(ports: readonly PortShare[]): Promise<boolean> {
    this.channel.send({ kind: "ready", ports });
    // Its end, however it comes about, is as good as its word.
    for (;;) {
      const message = await this.channel.next(upgradeGoneWaitMs);
      if (message?.kind === "gone" || this.channel.closed) return true;
      if (message === undefined) return false;
    }
  }

  /** The pid file names this process, and it can be called in its turn. */
  taken(): void {
    this.channel.send({ kind: "taken" });
    this.channel.close();
  }

  failed(why: string): void {
    this.channel.send({ kind: "failed", why });
    this.channel.close();
  }
}
