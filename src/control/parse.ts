/**
 * Parse: rule files → checked Rules. Small files at once; large ones in a thread of their own, because YAML with
 * positions takes about 0.1 ms a host and the data plane shares this loop.
 */
import { loadRules } from "../data/routing/load-rules.ts";
import { parseInlineBytesMax, parseWaitMs } from "../lib/limits.ts";

export type RuleSources = Parameters<typeof loadRules>[0];
export type RuleContext = Parameters<typeof loadRules>[1];
export type LoadedRules = ReturnType<typeof loadRules>;

/**
 * @param apart in a thread whatever the size: a pushed text may be small and yet made to be slow
 * @throws Error when the thread fails or does not come to an end
 */
export async function parseRules(sources: RuleSources, given: RuleContext, apart = false): Promise<LoadedRules> {
  const bytes = [sources.main, ...sources.confd].reduce((sum, { text }) => sum + text.length, 0);
  if (bytes <= parseInlineBytesMax && !apart) return loadRules(sources, given);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const worker = new Worker(new URL("./parse-worker.ts", import.meta.url).href);
  try {
    return await new Promise<LoadedRules>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<LoadedRules>) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      timer = setTimeout(() => reject(new Error(`not parsed after ${parseWaitMs / 1000} s`)), parseWaitMs);
      worker.postMessage({ sources, given });
    });
  } finally {
    clearTimeout(timer);
    worker.terminate();
  }
}
