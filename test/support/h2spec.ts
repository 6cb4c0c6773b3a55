/** Runs h2spec, the conformance test of HTTP/2 (github.com/summerwind/h2spec), built once from Go's module proxy. */
import { goProgram } from "./go-program.ts";

const module = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

export interface Conformance {
  readonly passed: number;
  /** the cases that failed, as h2spec names them */
  readonly failed: readonly string[];
  readonly output: string;
}

/** @throws when it cannot be built, or has no summary */
export async function runH2spec(port: number, flags: readonly string[] = []): Promise<Conformance> {
  const child = Bun.spawn(
    [
      Bun.which("h2spec") ?? (await goProgram(module)),
      "-h",
      "127.0.0.1",
      "-p",
      String(port),
      "-o",
      "3",
      "--strict",
      ...flags,
    ],
    {
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const output = await new Response(child.stdout).text();
  await child.exited;
  const summary = /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/.exec(output);
  if (!summary) throw new Error(`h2spec gave no summary: ${output} ${await new Response(child.stderr).text()}`);
  const list = output.slice(output.indexOf("Failures:"));
  const failed = summary[4] === "0" ? [] : [...list.matchAll(/× (.*)/g)].map(([, name]) => name!);
  return { passed: Number(summary[2]), failed, output };
}
