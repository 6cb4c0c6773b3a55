/** The README's key tables: main.yaml and upstreams.yaml. */
import { settingKeys } from "../../config/settings.ts";
import { fillMarkers, keyTable } from "../../config/tables.ts";
import { ruleKeys } from "./rules.ts";

/** Rewrites what stands between the markers `<!-- keys:main -->` and `<!-- keys:upstreams -->` of the README. */
export function fillTables(readme: string): string {
  return fillMarkers(readme, { main: keyTable(settingKeys, "M"), upstreams: keyTable(ruleKeys, "UHP") });
}
