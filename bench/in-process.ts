/**
 * What one exchange costs inside the process: the proxy as configured, from accepting to answering, over a network in
 * memory; with each optional feature and without. No kernel, so no noise of one either: this shows what a feature costs,
 * the other scenarios what a request does.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings } from "../src/config/load-settings.ts";
import { start, type Running } from "../src/control/control.ts";
import { Metrics } from "../src/data/observe/metrics.ts";
import { features } from "./contenders/aralez-features.ts";
import type { Contender } from "./contenders/contender.ts";
import { joinedLines } from "./measure.ts";
import { MemoryNetwork, type MemoryClient } from "./memory-network.ts";
import { median } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import { cookieOf, host, prefix, smallBody } from "./site.ts";

type FeatureName = keyof typeof features;

/** aralez-none whose metrics count nothing, which no setting can do. */
const uncounted = "uncounted";

export interface FeatureCost {
  /** "network" stands for a server that only writes the answer: what the measuring itself costs at least */
  readonly feature: FeatureName | "network" | typeof uncounted;
  /** CPU time of the process for an exchange, median of the rounds */
  readonly us: number;
  /** against the proxy with none of the features */
  readonly moreUs: number;
}

const rounds = 10;
/** Until the just-in-time compiler has done its work. */
const warmUpShare = 0.1;

function requestWith(clientLines: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(joinedLines(scenarios.features!.headers!, clientLines));
  const text = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return Buffer.from(`GET ${prefix}/small HTTP/1.1\r\nHost: ${host}\r\n${text}\r\n`);
}
const answer = Buffer.from(
  `HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 07:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: ${smallBody.length}\r\nConnection: keep-alive\r\n\r\n${smallBody}`,
);

/** One proxy in memory. */
interface Subject {
  readonly feature: FeatureCost["feature"];
  readonly client: MemoryClient;
  request: Buffer;
  readonly us: number[];
}

/** @param exchanges of each feature, over all rounds. @throws Error when an answer is wrong */
export async function measureFeatures(exchanges: number): Promise<FeatureCost[]> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-in-process-"));
  const health = Bun.serve({ hostname: "127.0.0.1", port: 0, reusePort: false, fetch: () => new Response("ok") });
  using network = new MemoryNetwork(health.port!, answer);
  const running: Running[] = [];
  try {
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open() {}, data: (socket) => void socket.write(answer) } });
    const subjects: Subject[] = [{ feature: "network", client: network.client(0), request: requestWith({}), us: [] }];
    const names = [...(Object.keys(features) as FeatureName[]), uncounted] as const;
    for (const [i, feature] of names.entries()) {
      const { clientLines = {} }: Contender = features[feature === uncounted ? "aralez-none" : feature];
      const port = 1 + i; // Names only: nothing listens there.
      const begin = () => open(feature, port, health.port!, join(folder, feature));
      running.push(await (feature === uncounted ? withoutMetrics(begin) : begin()));
      subjects.push({ feature, client: network.client(port), request: requestWith(clientLines), us: [] });
    }
    for (const subject of subjects.slice(1)) await checkAnswer(subject);
    for (const subject of subjects) await repeat(subject, Math.ceil(exchanges * warmUpShare));
    for (let round = 0; round < rounds; round++) {
      for (const subject of subjects) subject.us.push(await repeat(subject, Math.ceil(exchanges / rounds)));
    }
    const none = median(subjects.find(({ feature }) => feature === "aralez-none")!.us);
    return subjects.map(({ feature, us }) => ({ feature, us: median(us), moreUs: median(us) - none }));
  } finally {
    await Promise.all(running.map((proxy) => proxy.stop(0)));
    await health.stop(true);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function open(
  feature: FeatureName | typeof uncounted,
  port: number,
  originPort: number,
  folder: string,
): Promise<Running> {
  mkdirSync(folder);
  const place = { folder, port, originPort, echoPort: originPort, tree: folder, baseline: undefined };
  const contender = features[feature === uncounted ? "aralez-none" : feature];
  for (const [file, content] of Object.entries(contender.plan(place).files)) writeFileSync(join(folder, file), content);
  const { settings, problems } = loadSettings({ file: join(folder, "main.yaml"), text: undefined }, {});
  if (!settings) throw new Error(`Cannot start ${feature}: ${problems.map(({ message }) => message).join("; ")}`);
  return start({ settings, rules: { kind: "files" }, problems: [], env: {} });
}

/** The metrics of a plane are met where they are given its first table; from then on theirs count nothing. */
async function withoutMetrics(begin: () => Promise<Running>): Promise<Running> {
  const { follow } = Metrics.prototype;
  Metrics.prototype.follow = function (this: Metrics, table) {
    this.ended = () => {};
    this.replied = () => {};
    follow.call(this, table);
  };
  try {
    return await begin();
  } finally {
    Metrics.prototype.follow = follow;
  }
}

async function checkAnswer(subject: Subject): Promise<void> {
  const { feature, client } = subject;
  const text = (await client.ask(subject.request)).toString("latin1");
  if (
    !text.startsWith("HTTP/1.1 200 OK\r\n") ||
    !text.includes("X-Bench-Served-By: bench") ||
    !text.endsWith(smallBody)
  )
    throw new Error(`${feature} gives a wrong answer: ${text}`);
  if (feature === "network" || feature === uncounted) return;
  const { clientLines = {}, keepsCookie }: Contender = features[feature];
  if (!keepsCookie) return;
  const cookie = cookieOf(/^Set-Cookie: ([^\r]*)/im.exec(text)?.[1]);
  subject.request = requestWith({ ...clientLines, Cookie: cookie });
}

/** @returns CPU time of this process for each, in µs */
async function repeat({ client, request }: Subject, count: number): Promise<number> {
  const begin = process.cpuUsage();
  for (let i = 0; i < count; i++) await client.ask(request);
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / count;
}

export function featureTable(costs: readonly FeatureCost[]): string {
  const rows = costs.map(
    ({ feature, us, moreUs }) =>
      `| ${feature.padEnd(17)} | ${us.toFixed(2).padStart(11)} | ${moreUs.toFixed(2).padStart(7)} |`,
  );
  return [
    "| feature           | µs/exchange | more µs |",
    "| ----------------- | ----------: | ------: |",
    ...rows,
  ].join("\n");
}
