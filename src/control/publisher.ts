/** Publisher: puts a compiled table into force on one plane, and has requests wait for what is being found out about it. */
import { trustKey } from "../data/forward/trust.ts";
import type { Plane } from "../data/plane.ts";
import type { Compiled } from "../data/routing/compile.ts";
import type { Wire } from "../data/upstream/endpoint.ts";
import { tidyAfterReloadMs } from "../lib/limits.ts";

export class Publisher {
  /** ends the wait for what an endpoint speaks, by its name */
  readonly #detections = new Map<string, () => void>();
  #tidying: NodeJS.Timeout | undefined;

  constructor(readonly plane: Plane) {}

  /** @param told endpoints that need not be waited for: the question was asked before, whatever came of it */
  publish({ table, targets }: Compiled, told: { has(endpointName: string): boolean } = new Set()): void {
    const { plane } = this;
    const { ledger } = plane;
    for (const { address, probe } of targets) {
      const endpoint = ledger.endpoint(address);
      if (probe.protocol !== "auto" || endpoint.wire !== undefined || endpoint.detecting) continue;
      if (told.has(endpoint.name)) continue;
      endpoint.detecting = new Promise<void>((resolve) => {
        this.#detections.set(endpoint.name, () => {
          endpoint.detecting = undefined;
          resolve();
        });
      });
    }
    plane.metrics.follow(table);
    plane.table = table;
    const members = table.routes.flatMap((route) => route.pool?.members ?? []);
    ledger.sweep(new Set(members.map((member) => member.healthKey)), new Set(table.routes.map((route) => route.name)));
    const ofGuards = table.routes.flatMap((route) => route.guards.flatMap(({ trust }) => trust ?? []));
    const trusts = [...table.routes.map((route) => route.trust), ...ofGuards];
    plane.options.tunnels.sweep(new Set(trusts.map(trustKey)));
    this.#tidyUp();
  }

  /** @param wire undefined = it could not be found out */
  detected(endpointName: string, wire: Wire | undefined): void {
    if (wire) this.plane.ledger.detected(endpointName, wire);
    this.#detections.get(endpointName)?.();
    this.#detections.delete(endpointName);
  }

  /** What the old table held is garbage now; soon is better than late, at most once in a while and beside the loop. */
  #tidyUp(): void {
    if (this.#tidying) return;
    this.#tidying = setTimeout(() => {
      this.#tidying = undefined;
      Bun.gc(false);
    }, tidyAfterReloadMs);
    this.#tidying.unref();
  }
}
