/** curl against the TLS port, as users call it. */
import { tmpdir } from "node:os";

/** @returns its standard output. @throws when it fails */
export async function curl(port: number, host: string, target: string, args: readonly string[] = []): Promise<string> {
  const to = ["--connect-to", `${host}:443:127.0.0.1:${port}`, `https://${host}${target}`];
  const child = Bun.spawn(["curl", "-sSk", "--max-time", "20", ...args, ...to], {
    cwd: tmpdir(),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`curl ended with ${child.exitCode}: ${error}`);
  return out;
}
