/** What the admin API is made of: its endpoints, joined with what they ask and change. */
import type { Settings } from "../../config/settings.ts";
import type { Plane } from "../../data/plane.ts";
import type { Reloader } from "../reload.ts";
import { Access } from "./access.ts";
import { confEndpoints, type ReloadReport } from "./conf.ts";
import type { Endpoint } from "./endpoint.ts";
import type { AdminSite } from "./handle.ts";
import { healthEndpoints } from "./health.ts";
import { statusEndpoint, type StatusOptions } from "./status.ts";
import { tokenEndpoint } from "./tokens.ts";

export interface SiteOptions extends Pick<
  StatusOptions,
  "release" | "collect" | "listeners" | "open" | "unready" | "more"
> {
  settings(): Settings;
  readonly plane: Plane;
  readonly reloader: Reloader;
  /** what SIGHUP does */
  reload(): Promise<ReloadReport>;
  readonly loopMark: string;
  /** in Prometheus' text format */
  renderMetrics(): Promise<string>;
  /** endpoints of other features */
  readonly endpoints: readonly Endpoint[];
}

export function adminSite(options: SiteOptions): AdminSite {
  const { settings, plane, reloader, reload, unready, loopMark } = options;
  const access = new Access(settings);
  return {
    access,
    loopMark,
    log: (level, target, text) => plane.options.log(level, target, text),
    endpoints: [
      ...healthEndpoints({ unready, renderMetrics: options.renderMetrics }),
      statusEndpoint({
        ...options,
        table: () => plane.table,
        rules: () => reloader.rules,
        versions: () => reloader.history.list(),
        lastLoad: () => reloader.last,
        refusals: plane.refusals,
      }),
      ...confEndpoints({ settings, reloader, reload }),
      tokenEndpoint(settings, access),
      ...options.endpoints,
    ],
  };
}
