/** What runs elsewhere and cannot be run here: workflows and the compose file are sound, and what they name is there. */
import { describe, expect, test } from "bun:test";
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseDocument } from "yaml";
import manifest from "../package.json" with { type: "json" };
import { settingKeys } from "../src/config/settings.ts";

const root = join(import.meta.dir, "..");
const folder = join(root, ".github/workflows");
const workflows = readdirSync(folder);

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly "timeout-minutes"?: number;
  readonly needs?: string | readonly string[];
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
}
interface Workflow {
  readonly on: unknown;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

function read<T>(file: string): T {
  const document = parseDocument(readFileSync(file, "utf8"), { strict: true, uniqueKeys: true });
  expect([...document.errors, ...document.warnings].map(({ message }) => message)).toEqual([]);
  return document.toJS() as T;
}

describe.each(workflows)("workflow %s", (name) => {
  const workflow = read<Workflow>(join(folder, name));
  const jobs = Object.entries(workflow.jobs);
  const steps = jobs.flatMap(([, job]) => job.steps);

  test("may only read unless a job says otherwise, and no job runs for ever", () => {
    expect(workflow.on).toBeDefined();
    expect(workflow.permissions).toEqual({ contents: "read" });
    for (const [job, { "timeout-minutes": minutes }] of jobs) expect([job, typeof minutes]).toEqual([job, "number"]);
  });

  test("waits for jobs that it has", () => {
    for (const [, { needs = [] }] of jobs) for (const job of [needs].flat()) expect(workflow.jobs).toHaveProperty(job);
  });

  test("uses actions of a named major version", () => {
    for (const { uses } of steps) if (uses !== undefined) expect(uses).toMatch(/^[a-z-]+\/[a-z-]+@v\d+$/);
    for (const { uses, run } of steps) expect([uses, run].filter((given) => given !== undefined)).toHaveLength(1);
  });

  test("runs scripts that are there", () => {
    for (const { run = "" } of steps) {
      for (const [script] of run.matchAll(/\.ci\/[\w-]+/g)) {
        accessSync(join(root, script), constants.X_OK);
        expect(Bun.spawnSync(["bash", "-n", join(root, script)]).exitCode).toBe(0);
      }
      for (const [, script] of run.matchAll(/npm run (?:--silent )?([\w-]+)/g))
        expect(manifest.scripts).toHaveProperty(script!);
      expect(Bun.spawnSync(["bash", "-n", "-c", run.replace(/\$\{\{.*?\}\}/g, "x")]).stderr.toString()).toBe("");
    }
  });
});

test("a release publishes what the build makes, for the architectures that the Dockerfile knows", () => {
  const { jobs, on } = read<Workflow>(join(folder, "release.yml"));
  expect(on).toEqual({ push: { tags: ["v*"] } });
  const published = jobs.binaries!.steps.map(({ run = "" }) => run).find((run) => run.includes("gh release"))!;
  expect(published).toContain("dist/*.gz dist/SHA256SUMS");
  expect(jobs.binaries!.permissions).toEqual({ contents: "write" });
  const { platforms } = jobs.image!.steps.find(({ uses }) => uses?.startsWith("docker/build-push-action"))!.with!;
  const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");
  for (const platform of String(platforms).split(","))
    expect(dockerfile).toContain(` ${platform.split("/")[1]}) machine=`);
});

test("what the Dockerfile copies is let through by .dockerignore, and is there", () => {
  const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");
  const passed = readFileSync(join(root, ".dockerignore"), "utf8")
    .split("\n")
    .flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []));
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) => sources!.split(" "));
  expect(copied.length).toBeGreaterThan(3);
  for (const source of copied) {
    expect(passed.some((pattern) => source === pattern || source.startsWith(`${pattern}/`))).toBe(true);
    if (!source.startsWith("dist/")) expect(existsSync(join(root, source))).toBe(true);
  }
});

test("the compose file waits longer for the drain than the drain takes, and mounts what the image expects", () => {
  interface Compose {
    readonly services: Readonly<
      Record<string, { readonly stop_grace_period: string; readonly volumes: string[]; readonly read_only: boolean }>
    >;
  }
  const { aralez } = read<Compose>(join(root, "config/docker/compose.yaml")).services;
  const drainSeconds = Number(settingKeys.graceful_shutdown_timeout_seconds.about.default);
  expect(Number.parseInt(aralez!.stop_grace_period, 10)).toBeGreaterThan(drainSeconds);
  expect(aralez!.volumes).toEqual(["./aralez:/etc/aralez:ro", "state:/var/lib/aralez"]);
  expect(aralez!.read_only).toBe(true);
});
