/**
 * Validations: TLS-ALPN-01 on the TLS port (RFC 8737): only a validation may see the certificate that proves a name.
 * BUN(1.4.4): the certificate is chosen before any hook tells ALPN; remove when `serverName` does. So while an order is
 * pending, and only then, new connections are paused until their ClientHello lies in the socket, and it is peeked at.
 */
import { acmeHellosMax, acmeHelloLookMs, acmeHelloWaitMs } from "../../lib/limits.ts";
import { offersProtocol } from "../tls/client-hello.ts";
import { peek } from "../tls/peek.ts";
import type { Challenges } from "./challenges.ts";

/** By ALPN; nothing is ever said in it. */
export const validationProtocol = "acme-tls/1";

interface Paused {
  pause(): void;
  resume(): void;
}

export class Validations {
  #waiting = 0;

  constructor(readonly challenges: Challenges) {}

  /**
   * Holds a connection until it is known what it offers.
   * @param descriptor asked anew at every look: of a connection that is gone it may be somebody else's
   * @param isValidation called before the handshake goes on
   */
  watch(socket: Paused, descriptor: () => number, isValidation: () => void): void {
    if (this.challenges.names === 0 || this.#waiting >= acmeHellosMax) return;
    const untilMs = performance.now() + acmeHelloWaitMs;
    this.#waiting++;
    socket.pause();
    const look = () => {
      const bytes = peek(descriptor());
      const offers = bytes && offersProtocol(bytes, validationProtocol);
      if (bytes && offers === undefined && performance.now() < untilMs) return void setTimeout(look, acmeHelloLookMs);
      this.#waiting--;
      if (offers) isValidation();
      socket.resume();
    };
    setTimeout(look, acmeHelloLookMs);
  }
}
