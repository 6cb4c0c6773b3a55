/** SETTINGS (RFC 9113 6.5): what the peer announced, read strictly, and what we announce. */
import {
  ENABLE_CONNECT_PROTOCOL,
  ENABLE_PUSH,
  FLOW_CONTROL_ERROR,
  frameBytesDefault,
  frameBytesLargest,
  HEADER_TABLE_SIZE,
  headerTableDefault,
  INITIAL_WINDOW_SIZE,
  MAX_CONCURRENT_STREAMS,
  MAX_FRAME_SIZE,
  NO_ERROR,
  PROTOCOL_ERROR,
  windowDefault,
  windowLargest,
} from "./protocol.ts";

export class PeerSettings {
  headerTableSize = headerTableDefault;
  /** streams that we may open; no bound until the peer names one */
  streamsMax = Infinity;
  initialWindow = windowDefault;
  frameBytesMax = frameBytesDefault;
  /** RFC 8441 */
  connectProtocol = false;

  /**
   * Takes the payload bytes[start, end) of a SETTINGS frame, a multiple of six bytes.
   * @returns NO_ERROR, or the code of a connection error
   */
  read(bytes: Buffer, start: number, end: number, fromServer: boolean): number {
    for (let at = start; at < end; at += 6) {
      const value = bytes.readUInt32BE(at + 2);
      switch (bytes.readUInt16BE(at)) {
        case HEADER_TABLE_SIZE:
          this.headerTableSize = value;
          break;
        case ENABLE_PUSH:
          if (value > 1 || (fromServer && value === 1)) return PROTOCOL_ERROR;
          break;
        case MAX_CONCURRENT_STREAMS:
          this.streamsMax = value;
          break;
        case INITIAL_WINDOW_SIZE:
          if (value > windowLargest) return FLOW_CONTROL_ERROR;
          this.initialWindow = value;
          break;
        case MAX_FRAME_SIZE:
          if (value < frameBytesDefault || value > frameBytesLargest) return PROTOCOL_ERROR;
          this.frameBytesMax = value;
          break;
        case ENABLE_CONNECT_PROTOCOL:
          if (value > 1 || (this.connectProtocol && value === 0)) return PROTOCOL_ERROR;
          this.connectProtocol = value === 1;
          break;
      }
    }
    return NO_ERROR;
  }
}

/** What we announce: identifier, value. */
export type OwnSettings = readonly (readonly [identifier: number, value: number])[];
