/** The thread that {@link parseRules} hands large rule files to. */
import { loadRules } from "../data/routing/load-rules.ts";
import type { RuleContext, RuleSources } from "./parse.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<{ sources: RuleSources; given: RuleContext }>) => {
  self.postMessage(loadRules(data.sources, data.given));
};
