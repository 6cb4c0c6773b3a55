/** IngressStatus: writes into our Ingresses where clients reach them, so that `kubectl get ingress` and DNS tools know. */
import { isIP } from "node:net";
import { Backoff, pause } from "../../../lib/backoff.ts";
import { describe } from "../../../lib/cause.ts";
import { kubernetesStatusMs } from "../../../lib/limits.ts";
import type { Api, Environment } from "./api.ts";
import { projectService, type IngressFacts, type KubernetesObject, type StatusAddress } from "./objects.ts";

export interface IngressStatusOptions {
  readonly api: Api;
  readonly env: Environment;
  /** an address or name; undefined = ARALEZ_EXTERNAL_IP, else what our own Service says */
  readonly publish: string | undefined;
  ingresses(): Iterable<IngressFacts>;
  log(level: "warn" | "info" | "debug", text: string): void;
}

export class IngressStatus {
  readonly #options: IngressStatusOptions;
  readonly #stop = new AbortController();
  #poked = Promise.withResolvers<void>();
  readonly #backoff: Backoff;
  /** what was told last: the same trouble is not told twice */
  #told = "";

  constructor(options: IngressStatusOptions) {
    this.#options = options;
    // Writing is a courtesy: whoever may not is soon asked no more than now and then.
    this.#backoff = new Backoff(options.api.timing.retryFirstMs * 4, kubernetesStatusMs);
    void this.#run(this.#stop.signal);
  }

  /** Something has changed: look soon. */
  poke(): void {
    this.#poked.resolve();
  }

  stop(): void {
    this.#stop.abort();
    this.#poked.resolve();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await Promise.race([this.#poked.promise, pause(kubernetesStatusMs, signal)]);
      if (signal.aborted) return;
      this.#poked = Promise.withResolvers();
      try {
        await this.#write(signal);
        this.#told = "";
        this.#backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        this.#tell(`the status of ingresses cannot be written: ${describe(error)}`);
        await pause(this.#backoff.nextMs(), signal);
        this.poke();
      }
      await pause(this.#options.api.timing.pollMs, signal);
    }
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { api } = this.#options;
    const ingresses = [...this.#options.ingresses()];
    if (ingresses.length === 0) return;
    const addresses = await this.#addresses(signal);
    if (addresses.length === 0) return;
    for (const { namespace, name, addresses: written } of ingresses) {
      if (JSON.stringify(written) === JSON.stringify(addresses)) continue;
      const target = `/apis/networking.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/ingresses/${encodeURIComponent(name)}/status`;
      await api.patch(api.servers.current, target, { status: { loadBalancer: { ingress: addresses } } }, signal);
      this.#options.log("info", `ingress ${namespace}/${name} is reached at ${addresses.map(showAddress).join(", ")}`);
    }
  }

  async #addresses(signal: AbortSignal): Promise<readonly StatusAddress[]> {
    const { api, env, publish = env.ARALEZ_EXTERNAL_IP } = this.#options;
    if (publish !== undefined && publish !== "") return [isIP(publish) !== 0 ? { ip: publish } : { hostname: publish }];
    const { ARALEZ_SERVICE_NAME: name = "aralez-service", ARALEZ_SERVICE_NAMESPACE: namespace = "aralez" } = env;
    const target = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services/${encodeURIComponent(name)}`;
    const { text } = await api.ask(api.servers.current, target, signal);
    return projectService(JSON.parse(text) as KubernetesObject).external;
  }

  #tell(text: string): void {
    if (text === this.#told) return;
    this.#told = text;
    this.#options.log("warn", text);
  }
}

function showAddress({ ip, hostname }: StatusAddress): string {
  return ip ?? hostname ?? "";
}
