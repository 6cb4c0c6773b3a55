/** One order from beginning to end (RFC 8555 7.4): the name is proved, the certificate signed, fetched and checked. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Challenges } from "../../data/acme/challenges.ts";
import { acmeOrderWaitMs, acmePollMs, acmePollMsMax, acmeTokenSettleMs } from "../../lib/limits.ts";
import { isFault, readPair } from "../certificates/pair.ts";
import type { Account } from "./account.ts";
import { AcmeError, problemOf } from "./acme-error.ts";
import type { AcmeAnswer, AcmeClient } from "./client.ts";
import { signingRequest } from "./csr.ts";
import { prove, type ChallengeType } from "./proof.ts";

export interface OrderOptions {
  readonly client: AcmeClient;
  readonly account: Account;
  readonly challenge: ChallengeType;
  readonly challenges: Challenges;
  readonly name: string;
  /** of the certificate, PKCS#8 PEM */
  readonly keyPem: string;
  /** an order that was begun before, with the same key; "" = none */
  readonly resume: string;
  /** the certificate that this one takes the place of (RFC 9773 5); "" = none, or the server does not care */
  readonly replaces: string;
  readonly signal: AbortSignal;
  /** the order has this URL now */
  begun(url: string): void;
}

/** @returns the certificate with its chain, PEM, leaf first. @throws AcmeError */
export async function obtain(options: OrderOptions): Promise<string> {
  const order = new Order(options);
  return order.run();
}

type Body = Readonly<Record<string, unknown>>;

class Order {
  readonly #deadlineMs = performance.now() + acmeOrderWaitMs;
  #url = "";

  constructor(readonly options: OrderOptions) {}

  async run(): Promise<string> {
    const { name, keyPem } = this.options;
    let body = await this.#begin();
    if (body.status === "pending") {
      for (const url of Array.isArray(body.authorizations) ? body.authorizations : [])
        await this.#authorize(String(url));
      body = await this.#poll("was not accepted", this.#url, undefined, ({ status }) => status === "pending");
    }
    if (body.status === "ready") {
      const csr = Buffer.from(signingRequest(name, keyPem)).toString("base64url");
      const answer = await this.#post("the request was not accepted", String(body.finalize), { csr });
      const isUnderway = ({ status }: Body) => status === "processing" || status === "ready";
      body = await this.#poll("was not signed", this.#url, answer, isUnderway);
    } else if (body.status === "processing") {
      body = await this.#poll("was not signed", this.#url, undefined, ({ status }) => status === "processing");
    }
    if (body.status !== "valid") throw problemOf(`${name}: the order is ${body.status}`, 0, body.error);
    const { text } = await this.#post("the certificate could not be fetched", String(body.certificate));
    this.#check(text);
    return text;
  }

  async #begin(): Promise<Body> {
    const { client, name, resume } = this.options;
    if (resume !== "") {
      const kept = await this.#post("the order could not be read", resume).catch((error: unknown) => error as Error);
      this.#url = resume;
      if (!(kept instanceof Error) && kept.body.status !== "invalid") return kept.body;
    }
    const { newOrder } = await client.directory();
    const answer = await this.#newOrder(newOrder, { identifiers: [{ type: "dns", value: name }] });
    this.#url = answer.location;
    this.options.begun(answer.location);
    return answer.body;
  }

  async #newOrder(url: string, wanted: Body): Promise<AcmeAnswer> {
    const { replaces } = this.options;
    const what = "the order was refused";
    if (replaces === "") return this.#post(what, url, wanted);
    try {
      return await this.#post(what, url, { ...wanted, replaces });
    } catch (error) {
      // The server does not know that certificate, or has replaced it before: that is no reason not to renew.
      const { type = "" } = error as Partial<AcmeError>;
      if (type !== "alreadyReplaced" && type !== "malformed" && type !== "unauthorized") throw error;
      return this.#post(what, url, wanted);
    }
  }

  async #authorize(url: string): Promise<void> {
    const { name, challenge: type, challenges, account } = this.options;
    const { body } = await this.#post("its authorization could not be read", url);
    if (body.status === "valid") return;
    const offered = (Array.isArray(body.challenges) ? body.challenges : []) as Body[];
    const challenge = offered.find((each) => each.type === type);
    if (!challenge) {
      const types = offered.map((each) => each.type).join(", ");
      throw new AcmeError(`${name}: the server offers no ${type} challenge, only ${types || "none"}`);
    }
    using _proof = prove(type, name, challenge.token, account.key.thumbprint, challenges);
    if (challenge.status === "pending") {
      await sleep(acmeTokenSettleMs, undefined, { signal: this.options.signal });
      await this.#post("its challenge could not be begun", String(challenge.url), {});
    }
    const after = await this.#poll("was not validated", url, undefined, ({ status }) => status === "pending");
    if (after.status === "valid") return;
    const failed = ((Array.isArray(after.challenges) ? after.challenges : []) as Body[]).find(({ error }) => error);
    throw problemOf(`${name}: ${type} failed`, 0, failed?.error ?? after.error);
  }

  /** @param first an answer that is at hand */
  async #poll(
    what: string,
    url: string,
    first: AcmeAnswer | undefined,
    isOpen: (body: Body) => boolean,
  ): Promise<Body> {
    const { name, signal } = this.options;
    let answer = first;
    for (let ownMs = acmePollMs; ; ownMs = Math.min(ownMs * 1.5, acmePollMsMax)) {
      if (answer && !isOpen(answer.body)) return answer.body;
      const leftMs = this.#deadlineMs - performance.now();
      const waitMs = answer?.retryAfterMs === undefined ? ownMs : Math.max(answer.retryAfterMs, acmePollMs);
      // Nobody is asked before the time it has named; meanwhile what it wants to see stays in its place.
      if (answer) await sleep(Math.max(0, Math.min(waitMs, leftMs)), undefined, { signal });
      if (waitMs > leftMs) {
        const restMs = answer?.retryAfterMs === undefined ? undefined : waitMs - Math.max(0, leftMs);
        throw new AcmeError(`${name}: ${what} within ${acmeOrderWaitMs / 1000} s`, "slow", 0, restMs);
      }
      answer = await this.#post("its state could not be read", url);
    }
  }

  /** @param payload undefined for POST-as-GET */
  #post(what: string, url: string, payload?: unknown): Promise<AcmeAnswer> {
    const { client, account, name } = this.options;
    return client.post(`${name}: ${what}`, url, account.key, { kid: account.url }, payload);
  }

  /** What is served must be for this name and this key, whoever has sent it. */
  #check(certPem: string): void {
    const { name, keyPem } = this.options;
    const pair = readPair(Buffer.from(certPem), Buffer.from(keyPem));
    if (isFault(pair))
      throw new AcmeError(`${name}: the server sent a certificate that cannot be used: ${pair.message}`);
    if (!pair.names.includes(name))
      throw new AcmeError(`${name}: the server sent a certificate for ${pair.names.join(", ")}`);
    if (pair.notAfterMs <= Date.now()) throw new AcmeError(`${name}: the server sent a certificate that has expired`);
  }
}
