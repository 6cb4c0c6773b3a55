/** One TLS handshake of a client: waits its turn, is bounded in time, and hands the connection on when it is done. */
import { newSerial } from "../../lib/numbered-set.ts";
import type { Swept } from "../../lib/sweeper.ts";
import { describe } from "../../lib/cause.ts";
import { validationProtocol } from "../acme/validations.ts";
import type { ClientPolicy } from "../tls/client-policy.ts";
import type { HookedSocket } from "../tls/hooks.ts";
import type { Waiting } from "../tls/handshake-queue.ts";
import { describeClient, type ClientCertificate } from "../tls/secured.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { census } from "./socket.ts";
import type { SocketTlsListener, TlsData } from "./tls.ts";

export class Handshake implements SocketEvents, Swept, Waiting {
  readonly serial = newSerial();
  /** by SNI, in lower case */
  #serverName = "";
  #hasName = false;
  /** an ACME server proves the name (RFC 8737): it sees that certificate, and nothing else */
  isValidation = false;
  /** of the name, or of clients without one */
  policy: ClientPolicy | undefined;
  #over = false;
  readonly #beganMs = performance.now();

  constructor(
    readonly listener: SocketTlsListener,
    readonly socket: HookedSocket<TlsData>,
    readonly peer: string,
  ) {
    this.policy = listener.defaultPolicy;
  }

  /** SNI has come; the handshake is suspended until {@link proceed}. */
  named(name: string): void {
    const lower = name.toLowerCase();
    this.#serverName = lower.endsWith(".") ? lower.slice(0, -1) : lower;
    this.#hasName = true;
    this.listener.hasName(this);
    this.listener.queue.add(this);
  }

  proceed(): boolean {
    if (this.#over) return false;
    const { listener, socket } = this;
    const policy = (this.policy = listener.options.policy(this.#serverName));
    try {
      const proof = this.isValidation ? listener.proofFor(this.#serverName) : undefined;
      const context = proof ?? listener.contextFor(this.#serverName, policy);
      socket.setVerifyMode(policy !== undefined, false);
      socket.resumeSNI(context, false);
    } catch (error) {
      listener.options.log("warn", "tls", `Cannot serve "${this.#serverName}" to ${this.peer}: ${describe(error)}`);
      this.cut();
    }
    return true;
  }

  /** The handshake event. That it succeeded says nothing of the client's certificate. */
  shaken(success: boolean, error: Error | null): void {
    if (this.#over) return;
    if (!success) {
      this.#log(error ? describe(error) : "the client left");
      return this.cut();
    }
    if (this.socket.alpnProtocol === validationProtocol) {
      this.#log("it was an ACME validation");
      this.#leave();
      return void this.socket.end();
    }
    // A reload came in between: what was asked for is not what the rules want now, and a new connection gets it right.
    if (this.#wanted()?.id !== this.policy?.id) return this.cut();
    this.#over = true;
    this.socket.data.handshake = undefined;
    const { client, problem } = this.#client();
    const policy = this.policy?.id ?? "";
    this.listener.connect(this.socket, this.peer, { serverName: this.#serverName, policy, client, problem });
    // Not before: a draining listener is done when it holds neither handshakes nor connections.
    this.listener.handshakeOver(this);
  }

  sweep(nowMs: number): void {
    const { headerMs } = this.listener.options.timeouts();
    if (headerMs <= 0 || nowMs - this.#beganMs <= headerMs) return;
    this.#log(`not done within ${headerMs / 1000} s`);
    this.cut();
  }

  /** Ends it at once. */
  cut(): void {
    if (this.#over) return;
    this.#leave();
    this.socket.terminate();
  }

  data(): void {}

  drain(): void {}

  end(): void {
    this.cut();
  }

  close(): void {
    if (!this.#over) this.#leave();
  }

  #wanted(): ClientPolicy | undefined {
    return this.#hasName ? this.listener.options.policy(this.#serverName) : this.listener.defaultPolicy;
  }

  #leave(): void {
    this.#over = true;
    census.connections--;
    this.listener.handshakeOver(this);
  }

  #log(cause: string): void {
    this.listener.options.log("debug", "tls", `handshake with ${this.peer} for "${this.#serverName}": ${cause}`);
  }

  /** Decided by the verified state; a resumed session repeats an old verdict, so the dates are looked at again. */
  #client(): { client?: ClientCertificate; problem: string } {
    if (!this.policy) return { problem: "" };
    const { raw } = (this.socket.getPeerCertificate() ?? {}) as { raw?: Uint8Array };
    if (!raw) return { problem: "" };
    if (!this.socket.authorized) {
      const cause = this.socket.getAuthorizationError();
      return { problem: cause?.message ?? "it could not be verified" };
    }
    try {
      const client = describeClient(raw);
      return client.notAfterMs > Date.now() ? { client, problem: "" } : { problem: "certificate has expired" };
    } catch (error) {
      return { problem: describe(error) };
    }
  }
}
