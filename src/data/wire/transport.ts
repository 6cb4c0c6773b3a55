/** Transport: what the byte engines need of a connection, TCP or TLS, accepted or dialled. Bun's sockets fit as they are. */

export interface Transport {
  /**
   * Writes what the kernel takes now and queues nothing.
   * @returns bytes taken; -1 when the connection is gone
   */
  write(data: Uint8Array, offset?: number, length?: number): number;
  pause(): unknown;
  resume(): unknown;
  /** closes both ways after what was written */
  end(): unknown;
  /** sends FIN and reads on: the half-close of a lingering close (RFC 9112 9.6) */
  shutdown(): unknown;
  /** resets at once */
  terminate(): unknown;
}
