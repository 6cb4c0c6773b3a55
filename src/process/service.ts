/** Service: what surrounds the proxy in its process: user, pid file, the caller of a daemon, systemd, its successor. */
import { accessSync, constants } from "node:fs";
import type { Settings } from "../config/settings.ts";
import type { Running } from "../control/control.ts";
import { becomesDaemon, daemonReady, isDaemon } from "./daemon.ts";
import { PidFile } from "./pid-file.ts";
import { accountWanted, become } from "./privileges.ts";
import { programOnDisk } from "./program.ts";
import { runErrands } from "./root-errands.ts";
import { Notifier, takeManager } from "./systemd.ts";
import { channelName } from "./upgrade/channel.ts";
import { Succession, toAll } from "./upgrade/succession.ts";
import { Predecessor } from "./upgrade/successor.ts";

export type Environment = Record<string, string | undefined>;

export const daemonPidFile = "/tmp/aralez.pid";

export class Service {
  notifier: Notifier;
  /** to be logged as soon as there is a log */
  readonly remarks: string[] = [];
  predecessor: Predecessor | undefined;
  succession: Succession | undefined;
  readonly #pidFile: PidFile | undefined;
  readonly #inBackground: boolean;
  /** where and by which words this process was started */
  readonly #startedIn = process.cwd();
  readonly #words = [...programOnDisk(), ...process.argv.slice(2)];

  /**
   * Becomes the user of the configuration and opens what has to be opened before that.
   * @param mainFile undefined when there is none (demo, `proxy`): then there are no successors either
   * @throws Error, ready to print
   */
  constructor(
    readonly settings: Settings,
    readonly mainFile: string | undefined,
    readonly env: Environment,
  ) {
    this.notifier = new Notifier(takeManager(env));
    this.#inBackground = isDaemon(env);
    const { runuser, rungroup, working_directory: folder } = settings;
    const account = accountWanted(runuser, rungroup);
    const path = settings.pid_file ?? (this.#inBackground ? daemonPidFile : undefined);
    this.#pidFile = path === undefined ? undefined : PidFile.open(path, account?.uid);
    if (account) {
      runErrands(settings, account);
      this.#pidFile?.give(account.uid, account.gid);
      become(account);
      this.remarks.push(`running as ${account.user}:${account.group} (uid ${account.uid}, gid ${account.gid})`);
    }
    if (folder !== undefined) enter(folder);
    if (account && mainFile !== undefined && !isReadable(mainFile))
      this.remarks.push(`"${mainFile}" cannot be read by ${account.user}: a reload will not see its changes`);
  }

  /**
   * Makes sure that this process may start.
   * @param upgrade it may take over from one that runs
   * @throws Error, ready to print
   */
  async begin(upgrade: boolean, version: string): Promise<void> {
    if (upgrade && this.mainFile !== undefined)
      this.predecessor = await Predecessor.find(this.#channel(this.mainFile), version);
    if (!this.predecessor) {
      if (upgrade) this.remarks.push("there is no running process to take over from: starting as usual");
      return this.#takePidFile();
    }
    if (this.notifier.manager === undefined) this.notifier = new Notifier(this.predecessor.manager);
  }

  /** The proxy serves: whoever waits for that is told, a predecessor goes, and a successor may come. */
  async ready(running: Running): Promise<void> {
    const tell = (level: "info" | "warn" | "error", text: string) => running.log(level, "process", text);
    for (const remark of this.remarks) tell("info", remark);
    if (this.predecessor) {
      const shares = running.shares();
      if (await this.predecessor.succeed(shares)) running.steer(toAll(shares.map(({ port }) => port)));
      else tell("warn", `process ${this.predecessor.pid} does not leave: all new connections come here all the same`);
      await running.inherit();
      try {
        this.#takePidFile();
      } catch (error) {
        tell("warn", (error as Error).message);
      }
    }
    if (this.mainFile !== undefined) {
      this.succession = new Succession({
        name: this.#channel(this.mainFile),
        running,
        notifier: this.notifier,
        log: tell,
        spawn: () => this.#spawn(),
        leave: (left) =>
          running.stop(undefined, () => {
            this.#pidFile?.leave();
            left();
          }),
        stop: () => running.stop(),
      });
      try {
        this.succession.open();
      } catch (error) {
        tell("warn", `no successor can take over from this process: ${(error as Error).message}`);
      }
    }
    this.predecessor?.taken();
    if (this.predecessor) tell("info", `took over from process ${this.predecessor.pid}`);
    this.notifier.ready(statusOf(running));
    daemonReady(this.env);
  }

  /** It could not start. */
  failed(why: string): void {
    this.predecessor?.failed(why);
    this.ended();
  }

  /** The last thing: what names this process goes. */
  ended(): void {
    this.succession?.close();
    this.#pidFile?.remove();
  }

  #takePidFile(): void {
    if (!this.#pidFile || this.#pidFile.take()) return;
    const { pid, path } = this.#pidFile;
    const holder = pid === undefined ? "another process" : `process ${pid}`;
    throw new Error(
      `Cannot start: ${holder} holds "${path}" (pid_file) and still runs. Stop it first, or start with --upgrade to take over from it`,
    );
  }

  #channel(mainFile: string): string {
    return channelName(this.settings.upgrade_sock ?? mainFile, process.geteuid!());
  }

  #spawn() {
    const words = this.#words.some((word) => word === "-u" || word === "--upgrade")
      ? this.#words
      : [...this.#words, "--upgrade"];
    const child = Bun.spawn(words, {
      cwd: this.#startedIn,
      env: becomesDaemon(this.env, this.#inBackground),
      detached: true,
      stdin: "ignore",
      stdout: "inherit",
      stderr: "inherit",
    });
    child.unref();
    return child;
  }
}

/** @returns the line of `systemctl status` */
export function statusOf(running: Running): string {
  return running.listeners.map(({ name, url }) => `${name} ${url}`).join(", ");
}

function enter(folder: string): void {
  try {
    process.chdir(folder);
  } catch (error) {
    throw new Error(`Cannot work in "${folder}" (working_directory): ${(error as Error).message}`);
  }
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
