/** The verb `status`: routes and servers of the running proxy. */
import { askAdmin, findAdmin } from "./admin-client.ts";
import { table } from "./table.ts";
import type { Call } from "./verb.ts";

/** What is read of the answer of `GET /status`. */
interface Status {
  readonly release: string;
  readonly pid: number;
  readonly uptime_seconds: number;
  readonly ready: boolean;
  readonly unready?: string;
  readonly listeners: readonly { readonly name: string; readonly url: string }[];
  readonly requests_open: number;
  /** absent where one process does everything */
  readonly workers?: readonly {
    readonly worker: number;
    readonly pid: number;
    readonly state: string;
    readonly version: string;
    readonly restarts: number;
  }[];
  readonly rules: {
    readonly version: string;
    readonly origin: string;
    readonly since: string;
    readonly members_out: number;
  };
  readonly last_load?: {
    readonly ok: boolean;
    readonly time: string;
    readonly errors: number;
    readonly first_error?: string;
  };
  readonly routes: readonly {
    readonly route: string;
    readonly kind: string;
    readonly requests?: number;
    readonly members?: readonly Member[];
  }[];
}

interface Member {
  readonly server: string;
  readonly state: string;
  readonly alive: boolean;
  readonly cause?: string;
  readonly protocol: string;
  readonly in_flight: number;
}

/** @returns 0 when it is ready, its last load went well and every server gets requests; else 1 */
export async function run(call: Call): Promise<number> {
  const { status, text } = await askAdmin(await findAdmin(call, false), "GET", "/status");
  if (status !== 200) {
    console.error(`aralez: ${text.trimEnd()}`);
    return 1;
  }
  const found = JSON.parse(text) as Status;
  console.log(call.flags.json ? text.trimEnd() : show(found));
  return found.ready && found.rules.members_out === 0 && found.last_load?.ok !== false ? 0 : 1;
}

function show(status: Status): string {
  const { release, pid, uptime_seconds, listeners, requests_open, rules, last_load, routes } = status;
  const lines = [
    `aralez ${release}, process ${pid}, up ${duration(uptime_seconds)}, ${status.ready ? "ready" : `not ready: ${status.unready}`}`,
    `listening: ${listeners.map(({ name, url }) => `${name} ${url}`).join(", ")}`,
    `rules: version ${rules.version} by ${rules.origin} since ${rules.since}, ${requests_open} requests under way`,
  ];
  if (status.workers) lines.push(`workers: ${status.workers.map(showWorker(rules.version)).join(", ")}`);
  if (last_load?.ok === false)
    lines.push(`the load at ${last_load.time} was refused with ${last_load.errors} errors: ${last_load.first_error}`);
  const rows = routes.flatMap(({ route, kind, requests, members }) =>
    members
      ? members.map(({ server, state, protocol, in_flight, cause }, i) => [
          i === 0 ? route : "",
          i === 0 ? String(requests ?? 0) : "",
          server,
          state,
          protocol,
          String(in_flight),
          cause ?? "",
        ])
      : [[route, "", `(${kind})`, "", "", "", ""]],
  );
  if (rows.length > 0)
    lines.push(...table([["ROUTE", "REQUESTS", "SERVER", "STATE", "SPEAKS", "OPEN", "CAUSE"], ...rows]));
  return lines.map((line) => line.trimEnd()).join("\n");
}

/** @param version which all of them should serve; with what sources bring it has a second half */
function showWorker(version: string) {
  return ({ worker, pid, state, version: own, restarts }: NonNullable<Status["workers"]>[number]): string => {
    const differs = state === "serving" && own.split(".")[0] !== version ? ` version ${own}` : "";
    return `${worker} ${state}${differs} (process ${pid}${restarts > 0 ? `, replaced ${restarts} times` : ""})`;
  };
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}
