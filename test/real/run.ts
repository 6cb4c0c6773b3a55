/**
 * Runs the scenarios of discovery against a real Consul agent, and against a real kube-apiserver with etcd, as far as
 * these programs are on PATH: `bun test/real/run.ts`. The last line is "N passed, N failed"; exits 1 when anything failed.
 */
import { consulScenarios, kubernetesScenarios } from "../support/discovery-scenarios.ts";
import { realConsul } from "./consul.ts";
import { realKubernetes } from "./kubernetes.ts";
import { find } from "./started.ts";

let passed = 0;
let failed = 0;

async function runAll<W extends AsyncDisposable>(
  name: string,
  scenarios: Record<string, (world: W) => Promise<void>>,
  open: () => Promise<W>,
): Promise<void> {
  await using world = await open();
  if ("version" in world) console.log(`${name} ${world.version}`);
  for (const [what, run] of Object.entries(scenarios)) {
    const beganMs = performance.now();
    try {
      await run(world);
      passed++;
      console.log(`ok ${name}: ${what} (${((performance.now() - beganMs) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${what}\n${(error as Error).stack ?? error}`);
    }
  }
}

const [consul, etcd, apiserver] = [find("consul"), find("etcd"), find("kube-apiserver")];
if (consul) {
  console.log((await Bun.$`${consul} version`.text()).split("\n")[0]);
  await runAll("consul", consulScenarios, () => realConsul(consul));
} else console.log("consul is not on PATH: not run");
if (etcd && apiserver) {
  console.log((await Bun.$`${etcd} --version`.text()).split("\n")[0]);
  await runAll("kubernetes", kubernetesScenarios, () => realKubernetes({ etcd, apiserver }));
} else console.log("etcd and kube-apiserver are not both on PATH: not run");
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
