/** Whether a contender resumes TLS sessions: who does not would be measured at whole handshakes. */
import { join } from "node:path";
import { group, suite } from "./certificate.ts";
import { environment } from "./processes.ts";
import { host, prefix } from "./site.ts";

const waitMs = 10_000;
const request = `GET ${prefix}/small HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;

/**
 * Connects twice, the second time with the session of the first.
 * @param folder for the session
 * @throws Error when the second handshake was a whole one
 */
export async function checkResumption(port: number, contender: string, folder: string): Promise<void> {
  const session = join(folder, `${contender}.session`);
  await connect(port, ["-sess_out", session]);
  const said = await connect(port, ["-sess_in", session]);
  if (!/^Reused, TLSv1\.3, /m.test(said)) {
    const found = /^(?:New|Reused), .*/m.exec(said)?.[0] ?? said.trim().slice(-500);
    throw new Error(`${contender} does not resume TLS sessions: expected "Reused, TLSv1.3", found "${found}"`);
  }
}

/** @returns what openssl's client says */
async function connect(port: number, more: readonly string[]): Promise<string> {
  const offer = ["-tls1_3", "-ciphersuites", suite, "-groups", group, "-servername", host];
  const command = ["openssl", "s_client", "-connect", `127.0.0.1:${port}`, "-ign_eof", ...offer, ...more];
  const child = Bun.spawn(command, {
    env: environment(),
    stdin: Buffer.from(request),
    stdout: "pipe",
    stderr: "ignore",
    timeout: waitMs,
  });
  const [out] = await Promise.all([child.stdout.text(), child.exited]);
  return out;
}
