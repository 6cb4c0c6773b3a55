/** Api: how the Kubernetes API is asked: which server, which token (read anew when it rotates), whose certificate. */
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import type { KubernetesRules } from "../../../data/routing/discovery-rules.ts";
import { describe } from "../../../lib/cause.ts";
import { discoveryBodyMs, kubernetesTokenBytesMax } from "../../../lib/limits.ts";
import { readAuthorities } from "../../health/trust.ts";
import { Client, type Answer, type Terms } from "../client.ts";
import { Servers } from "../servers.ts";
import type { Timing } from "../timing.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a pod finds its service account. */
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface ApiOptions {
  readonly rules: KubernetesRules;
  readonly env: Environment;
  readonly timing: Timing;
  /** for tests: another {@link accountFolder} */
  readonly accountFolder?: string;
}

export class Api {
  readonly servers: Servers;
  readonly timing: Timing;
  /** of this pod; where services of the list form are, unless they say otherwise */
  readonly ownNamespace: string;
  readonly #client = new Client();
  readonly #tokenFile: string;
  readonly #tokenNeeded: boolean;
  readonly #caFile: string;
  readonly #caNeeded: boolean;
  #token: { readonly stamp: string; readonly text: string } | undefined;

  constructor({ rules, env, timing, accountFolder: account = accountFolder }: ApiOptions) {
    this.timing = timing;
    this.servers = new Servers(serversOf(rules, env));
    this.#tokenFile = rules.tokenpath ?? `${account}/token`;
    this.#tokenNeeded = rules.tokenpath !== undefined;
    this.#caFile = rules.ca_file ?? `${account}/ca.crt`;
    this.#caNeeded = rules.ca_file !== undefined;
    this.ownNamespace = namespaceIn(`${account}/namespace`) || env.POD_NAMESPACE || "default";
  }

  /** One whole answer. @throws Error with a short cause */
  ask(server: URL, target: string, signal: AbortSignal): Promise<Answer> {
    return this.#client.ask(this.#terms(server), {
      target,
      headMs: this.timing.answerMs,
      bodyMs: discoveryBodyMs,
      signal,
    });
  }

  /** RFC 7396. @throws as {@link ask} */
  patch(server: URL, target: string, patch: object, signal: AbortSignal): Promise<Answer> {
    return this.#client.ask(this.#terms(server), {
      method: "PATCH",
      target,
      fields: { "Content-Type": "application/merge-patch+json" },
      body: JSON.stringify(patch),
      headMs: this.timing.answerMs,
      bodyMs: discoveryBodyMs,
      signal,
    });
  }

  /** @param seconds how long the server was asked to go on; a little later it counts as silent */
  watch(
    server: URL,
    target: string,
    seconds: number,
    signal: AbortSignal,
    began: () => void,
    line: (text: string) => void,
  ): Promise<void> {
    const { answerMs } = this.timing;
    const question = { target, headMs: answerMs, bodyMs: seconds * 1000 + answerMs, signal };
    return this.#client.follow(this.#terms(server), question, began, line);
  }

  close(): void {
    this.#client.close();
  }

  #terms(base: URL): Terms {
    // A token is shown to a server that has proved who it is, never in the clear (`kubectl proxy` needs none).
    const token = base.protocol === "https:" ? this.#readToken() : undefined;
    const ca = this.#caNeeded || existsSync(this.#caFile) ? readAuthorities(this.#caFile) : undefined;
    const fields: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    return { base, ca, verify: true, fields, secret: token };
  }

  /** The kubelet replaces the file well before a token expires: each question is asked with what it holds now. */
  #readToken(): string | undefined {
    try {
      const { mtimeMs, ino, size } = statSync(this.#tokenFile);
      const stamp = `${mtimeMs} ${ino} ${size}`;
      if (this.#token?.stamp === stamp) return this.#token.text;
      const text = readFileStart(this.#tokenFile, kubernetesTokenBytesMax).trim();
      if (!/^[\x21-\x7e]+$/.test(text)) throw new Error("expected one line of visible characters");
      this.#token = { stamp, text };
      return text;
    } catch (error) {
      if (!this.#tokenNeeded && (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new Error(`Cannot read the token "${this.#tokenFile}": ${describe(error)}`);
    }
  }
}

function readFileStart(file: string, bytesMax: number): string {
  const descriptor = openSync(file, "r");
  try {
    const bytes = Buffer.alloc(bytesMax);
    return bytes.toString("utf8", 0, readSync(descriptor, bytes, 0, bytesMax, 0));
  } finally {
    closeSync(descriptor);
  }
}

function namespaceIn(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "";
  }
}

function serversOf({ servers = [] }: KubernetesRules, env: Environment): URL[] {
  if (servers.length > 0)
    return servers.map((server) => new URL(server.includes("://") ? server : `https://${server}`));
  const { KUBERNETES_SERVICE_HOST: host = "kubernetes.default.svc", KUBERNETES_SERVICE_PORT: port = "443" } = env;
  const url = URL.parse(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  return [url ?? new URL("https://kubernetes.default.svc")];
}
