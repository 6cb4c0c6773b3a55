/** Agent: how Consul is asked: which server, whose token, which datacenter, and how many questions at once. */
import type { ConsulRules } from "../../../data/routing/discovery-rules.ts";
import { Gate } from "../../../lib/gate.ts";
import { consulQuestionsMax, consulQuestionsPerSecondMax, discoveryBodyMs } from "../../../lib/limits.ts";
import { readAuthorities } from "../../health/trust.ts";
import { Client, type Answer, type Terms } from "../client.ts";
import { Servers } from "../servers.ts";
import type { Timing } from "../timing.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export class Agent {
  readonly servers: Servers;
  /** services that are followed: many share the questions that may be held back at once */
  questions = 0;
  readonly #client = new Client();
  readonly #gate = new Gate(consulQuestionsMax, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  readonly #rules: ConsulRules;
  readonly #token: string | undefined;

  constructor(
    rules: ConsulRules,
    env: Environment,
    readonly timing: Timing,
  ) {
    this.#rules = rules;
    this.#token = rules.token ?? (env.CONSUL_HTTP_TOKEN || undefined);
    this.servers = new Servers(serversOf(rules, env));
  }

  /** Of one service: all together ask a bounded number of questions a second. */
  get spacingMs(): number {
    return (this.questions * 1000) / consulQuestionsPerSecondMax;
  }

  /**
   * @param index of the last answer; 0 = to be answered at once
   * @throws Error with a short cause
   */
  ask(server: URL, target: string, index: number, signal: AbortSignal): Promise<Answer> {
    const { datacenter, namespace, ca_file, verify = true } = this.#rules;
    const { answerMs } = this.timing;
    return this.#gate.run("", async () => {
      if (signal.aborted) throw new Error("stopped");
      const wait = this.#waitSeconds;
      const query = new URLSearchParams({
        ...(index > 0 && { index: String(index), wait: `${wait}s` }),
        ...(datacenter !== undefined && { dc: datacenter }),
        ...(namespace !== undefined && { ns: namespace }),
      });
      const full = query.size === 0 ? target : `${target}${target.includes("?") ? "&" : "?"}${query}`;
      const terms: Terms = {
        base: server,
        fields: this.#token === undefined ? {} : { "X-Consul-Token": this.#token },
        secret: this.#token,
        ca: ca_file === undefined ? undefined : readAuthorities(ca_file),
        verify,
      };
      // Consul adds up to a sixteenth of the wait, so that not all questions end at once.
      const headMs = answerMs + (index > 0 ? wait * 1000 * (17 / 16) : 0);
      return this.#client.ask(terms, { target: full, headMs, bodyMs: discoveryBodyMs, signal });
    });
  }

  close(): void {
    this.#client.close();
  }

  /** Where there are more questions than may be held back at once, each is held back for a shorter time. */
  get #waitSeconds(): number {
    const { waitSeconds } = this.timing;
    if (this.questions <= consulQuestionsMax) return waitSeconds;
    return Math.max(1, Math.floor((waitSeconds * consulQuestionsMax) / this.questions / 8));
  }
}

function serversOf({ servers = [] }: ConsulRules, env: Environment): URL[] {
  if (servers.length > 0) return servers.map((server) => new URL(server.includes("://") ? server : `http://${server}`));
  const { CONSUL_SERVICE_HOST: host = "127.0.0.1", CONSUL_SERVICE_PORT: port = "8500" } = env;
  return [URL.parse(`http://${host.includes(":") ? `[${host}]` : host}:${port}`) ?? new URL("http://127.0.0.1:8500")];
}
