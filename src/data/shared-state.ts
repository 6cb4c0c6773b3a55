/**
 * SharedState: what workers count together: windows and requests in flight of clients, turns of round robin. The
 * supervisor makes it and hands its descriptor down; each worker attaches in a lane of its own.
 */
import { readFileSync } from "node:fs";
import { limiterBytesMax, limitWindowMs } from "../lib/limits.ts";
import { SharedFile } from "../lib/shared-file.ts";
import { SharedLocks } from "../lib/shared-locks.ts";
import { SharedInFlight } from "./guards/limits/shared-in-flight.ts";
import { SharedWindows } from "./guards/limits/shared-windows.ts";
import { SharedTurns } from "./upstream/shared-turns.ts";

/** "Alz" and a zero: nothing else maps by accident. */
const magic = 0x007a_6c41;
/** Counts up with every change of what a word means, here or in one of the parts. */
const version = 1;
/** A page: the layout (8 words), the seed of the hash (2), and room. */
const headerWords = 1_024;
const seedWord = 8;
const wordBytes = 4;

export class SharedState {
  readonly windows: SharedWindows;
  readonly inFlight: SharedInFlight;
  readonly turns: SharedTurns;

  private constructor(
    private readonly file: SharedFile,
    workers: number,
    lane: number,
  ) {
    const { buffer, byteOffset } = file.bytes;
    const [, , , windowWords, inFlightWords, turnWords] = layoutOf(workers);
    const part = (at: number, length: number) => new Int32Array(buffer, byteOffset + at * wordBytes, length);
    const seed = part(seedWord, 2);
    const windows = part(headerWords, windowWords);
    const doubles = new Float64Array(buffer, windows.byteOffset, windowWords / 2);
    const inFlight = part(headerWords + windowWords, inFlightWords);
    const turns = part(headerWords + windowWords + inFlightWords, turnWords);
    const lanes = lanesOf(workers);
    const memory = { words: windows, doubles, seed };
    this.windows = new SharedWindows(limitWindowMs, memory, new SharedLocks(windows, lane), aheadMs());
    this.inFlight = new SharedInFlight(inFlight, seed, lanes, lane, new SharedLocks(inFlight, lane));
    this.turns = new SharedTurns(turns, lanes, lane, new SharedLocks(turns, lane));
  }

  /**
   * Made by the supervisor, which has a lane too, behind those of the workers.
   * @param folders where its file may be; tests say others
   * @throws Error when there is no room for it
   */
  static create({ workers, folders }: { workers: number; folders?: readonly string[] }): SharedState {
    const layout = layoutOf(workers);
    const file = SharedFile.make(sizeOf(layout), folders);
    const header = new Int32Array(file.bytes.buffer, file.bytes.byteOffset, headerWords);
    header.set(layout);
    crypto.getRandomValues(header.subarray(seedWord, seedWord + 2));
    return new SharedState(file, workers, workers);
  }

  /**
   * @param descriptor inherited from the supervisor ({@link descriptor}, among `stdio` of Bun.spawn); closed here
   * @param lane from 0 up to the number of workers; nobody else's
   * @throws Error when it is something else, or made by another version of the program
   */
  static attach(descriptor: number, lane: number): SharedState {
    const file = SharedFile.open(descriptor);
    const { buffer, byteOffset, byteLength } = file.bytes;
    const found = byteLength < headerWords * wordBytes ? [] : [...new Int32Array(buffer, byteOffset, seedWord)];
    const workers = found[2] ?? 0;
    const wanted = found[0] === magic ? layoutOf(workers) : undefined;
    if (!wanted || wanted.some((word, i) => word !== found[i]) || byteLength !== sizeOf(wanted))
      throw new Error(
        `Cannot attach to the memory that workers share: expected ${told(wanted ?? layoutOf(1))}, found ${wanted ? told(found) : `${byteLength} bytes of something else`}; was the program replaced since its supervisor started?`,
      );
    if (lane < 0 || lane >= workers)
      throw new Error(
        `Cannot attach to the memory that workers share: expected a lane below ${workers}, found ${lane}`,
      );
    return new SharedState(file, workers, lane);
  }

  /** To be inherited by workers, as long as it is not closed. */
  get descriptor(): number {
    return this.file.descriptor;
  }

  /**
   * Gives back what a worker held: its requests in flight, its turns, a lock. To be called whenever its process has
   * ended, before another one takes the lane. Takes a few milliseconds, the first time some ten.
   */
  release(lane: number): void {
    this.windows.release(lane);
    this.inFlight.release(lane);
    this.turns.release(lane);
  }

  /** The supervisor hands it to nobody any more. */
  close(): void {
    this.file.close();
  }
}

type Layout = readonly [number, number, number, number, number, number, number];

/** What the header begins with: magic, version, workers, words of each part, length of a window. */
function layoutOf(workers: number): Layout {
  const lanes = lanesOf(workers);
  const windowWords = limiterBytesMax / 4 / wordBytes;
  return [magic, version, workers, windowWords, SharedInFlight.sizeOf(lanes), SharedTurns.sizeOf(lanes), limitWindowMs];
}

function sizeOf([, , , windowWords, inFlightWords, turnWords]: Layout): number {
  return (headerWords + windowWords + inFlightWords + turnWords) * wordBytes;
}

function lanesOf(workers: number): number {
  return workers + 1;
}

function told(layout: readonly number[]): string {
  return `layout ${layout[1]} with parts of ${layout.slice(3, 6).join(", ")} words`;
}

/**
 * What the machine's clock (since its start) is ahead of performance.now(), which begins anew in each process. To 10 ms,
 * by which a window may end earlier or later for one worker than for another; the time of day could jump between them.
 */
function aheadMs(): number {
  const seconds = Number(readFileSync("/proc/uptime", "utf8").split(" ", 1)[0]);
  return seconds * 1000 - performance.now();
}
