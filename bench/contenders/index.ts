/** The contenders, in the order they are measured in; all are compared with nginx. */
import { aralez, aralezChecks, aralezFetch, baseline } from "./aralez.ts";
import type { Contender } from "./contender.ts";
import { nginx, nginxLarge } from "./nginx.ts";

export const contenders = {
  aralez,
  "aralez-fetch": aralezFetch,
  "aralez-checks": aralezChecks,
  baseline,
  nginx,
  "nginx-large": nginxLarge,
} satisfies Record<string, Contender>;

export type ContenderName = keyof typeof contenders;

/** Ratios are to this one. */
export const reference = "nginx" satisfies ContenderName;

export const usual: readonly ContenderName[] = ["aralez", "nginx"];
