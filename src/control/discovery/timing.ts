/** Timing of discovery, as one value: tests about silence and failure cannot wait for minutes. */
import * as limits from "../../lib/limits.ts";

export interface Timing {
  readonly retryFirstMs: number;
  readonly retryMostMs: number;
  /** until a source begins to answer what it need not hold back */
  readonly answerMs: number;
  /** between two questions to a source that cannot hold back */
  readonly pollMs: number;
  /** a held-back question, a watch */
  readonly waitSeconds: number;
}

export const consulTiming: Timing = {
  retryFirstMs: limits.discoveryRetryFirstMs,
  retryMostMs: limits.discoveryRetryMostMs,
  answerMs: limits.discoveryAnswerMs,
  pollMs: limits.consulPollMs,
  waitSeconds: limits.consulWaitSeconds,
};

export const kubernetesTiming: Timing = {
  ...consulTiming,
  pollMs: limits.kubernetesWatchEveryMs,
  waitSeconds: limits.kubernetesWatchSeconds,
};
