/** The contenders, in the order they are measured in. */
import { environment } from "../processes.ts";
import { features } from "./aralez-features.ts";
import { aralez, aralezBun, aralezChecks, aralezFetch, baseline } from "./aralez.ts";
import { caddy } from "./caddy.ts";
import type { Contender } from "./contender.ts";
import { haproxy } from "./haproxy.ts";
import { nginx, nginxLarge } from "./nginx.ts";

export const contenders = {
  aralez,
  "aralez-bun": aralezBun,
  "aralez-fetch": aralezFetch,
  "aralez-checks": aralezChecks,
  baseline,
  nginx,
  "nginx-large": nginxLarge,
  haproxy,
  caddy,
  ...features,
} satisfies Record<string, Contender>;

export type ContenderName = keyof typeof contenders;

/** Ratios are to this one, unless a scenario names another. */
export const reference = "nginx" satisfies ContenderName;

export const usual: readonly ContenderName[] = ["aralez", "nginx", "haproxy", "caddy"];

export function isContender(name: string): name is ContenderName {
  return Object.hasOwn(contenders, name);
}

/** What is missing on this machine to run it. @returns undefined when nothing is */
export function missingProgram(name: ContenderName): string | undefined {
  const { program }: Contender = contenders[name];
  return program && !Bun.which(program.name, environment()) ? `${program.name} (${program.from})` : undefined;
}
