/** The thread that {@link parseRules} hands large rule files to. */
import { setPriority } from "node:os";
import { loadRules } from "../data/routing/load-rules.ts";
import type { RuleContext, RuleSources } from "./parse.ts";

declare const self: Worker;

// On Linux this is a property of the thread: who pushes or edits rules waits a little longer, requests do not.
try {
  setPriority(10);
} catch {
  // A sandbox may forbid it; then the thread is as any other.
}

self.onmessage = ({ data }: MessageEvent<{ sources: RuleSources; given: RuleContext }>) => {
  self.postMessage(loadRules(data.sources, data.given));
};
