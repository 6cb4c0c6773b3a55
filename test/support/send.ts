/** One plain request on a connection of its own, written by hand: nothing is added, joined or left out. */
import { raw, type RawAnswer } from "./raw.ts";

export interface Sent {
  readonly method?: string;
  /** "" = none */
  readonly host?: string;
  /** lines as they are sent; a name may come twice */
  readonly fields?: readonly (readonly [name: string, value: string])[];
  /** sent with its Content-Length, unless a field of that name or Transfer-Encoding is given */
  readonly body?: string;
}

export interface Got extends RawAnswer {
  /** the first field of this name, in any case */
  field(name: string): string | undefined;
}

/** @param port of 127.0.0.1 */
export async function send(port: number, target: string, sent: Sent = {}): Promise<Got> {
  const { method = "GET", host = "a.test", fields = [], body } = sent;
  const framed = fields.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...(host === "" ? [] : [`Host: ${host}`]),
    ...fields.map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined || framed ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    "Connection: close",
  ];
  const answer = await raw(port, `${lines.join("\r\n")}\r\n\r\n${body ?? ""}`);
  return { ...answer, field: (name) => answer.fields.find(([other]) => other === name.toLowerCase())?.[1] };
}

/** The field with which a trusted proxy tells whose request it passes on. */
export function from(ip: string): readonly [string, string] {
  return ["X-Forwarded-For", ip];
}
