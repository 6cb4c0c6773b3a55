/** What a reader makes of the bytes of one connection: the same shape for our parsers and for the reference. */

export type Line = readonly [name: string, value: string];

export interface Message {
  /** method and target as they came, or status and reason */
  start: string;
  minor: number;
  lines: Line[];
  /** latin1 */
  body: string;
  trailers: Line[];
  /** what else the reader concluded, as one text */
  facts: string;
}

export interface Reading {
  /** the messages read whole, in order */
  messages: Message[];
  /** all bytes were used up; more are needed; the rest is refused; the connection ends after the last message */
  state: "empty" | "incomplete" | "refused" | "closed";
  /** why the rest is refused */
  reason: string;
}

/** One text per reading, to compare; without the reason. */
export function digest({ messages, state }: Reading): string {
  return JSON.stringify([messages, state]);
}
