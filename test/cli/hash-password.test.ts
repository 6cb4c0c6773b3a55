/** The verb hash-password: what it prints opens a route, and the password is seen nowhere. */
import { describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { startOrigin } from "../support/origins.ts";
import { startPatientProxy } from "../support/proxy.ts";
import { send } from "../support/send.ts";
import { program } from "./program.ts";

async function hash(input: string | Uint8Array, ...args: string[]) {
  const child = Bun.spawn([...program, "hash-password", ...args], {
    cwd: tmpdir(),
    stdin: typeof input === "string" ? Buffer.from(input) : input,
    stdout: "pipe",
    stderr: "pipe",
    timeout: 20_000,
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { out, err, code };
}

describe("hash-password", () => {
  test("prints a hash that basic authorization takes, bcrypt or argon2id", async () => {
    await using up = await startOrigin();
    const bcrypt = await hash("s3cret wörd\n", "--cost", "4");
    const argon = await hash("s3cret wörd", "--algorithm", "argon2id", "--cost", "1");
    expect([bcrypt.code, bcrypt.err, argon.code, argon.err]).toEqual([0, "", 0, ""]);
    expect(bcrypt.out).toMatch(/^\$2b\$04\$\S{53}\n$/);
    expect(argon.out).toMatch(/^\$argon2id\$\S+\n$/);
    const users = { ann: bcrypt.out.trim(), bob: argon.out.trim() };
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false, authorization: ${JSON.stringify({ type: "basic", users })} } } } }`,
    );
    for (const user of ["ann", "bob"]) {
      const credentials = Buffer.from(`${user}:s3cret wörd`).toString("base64");
      const { status } = await send(proxy.port, "/", { fields: [["Authorization", `Basic ${credentials}`]] });
      expect([user, status]).toEqual([user, 200]);
    }
  });
  test("takes one line, without its end; each hash has a salt of its own", async () => {
    const hashes = await Promise.all([hash("secret\n", "--cost", "4"), hash("secret\r\nmore", "--cost", "4")]);
    expect(hashes[0].out).not.toBe(hashes[1].out);
    for (const { out } of hashes) expect(await Bun.password.verify("secret", out.trim())).toBe(true);
  });
  test("refuses what would be no password", async () => {
    expect(await hash("")).toMatchObject({ code: 1, out: "", err: expect.stringContaining("the password is empty") });
    expect(await hash("\nx")).toMatchObject({ code: 1, err: expect.stringContaining("the password is empty") });
    expect(await hash(Uint8Array.of(0xff, 0xfe))).toMatchObject({ code: 1, err: expect.stringContaining("not UTF-8") });
    expect(await hash("x".repeat(5_000))).toMatchObject({
      code: 1,
      err: expect.stringContaining("at most 4096 bytes"),
    });
  });
  test("is told its mistakes: a cost out of range, a password as an argument, an unknown algorithm", async () => {
    expect(await hash("x", "--cost", "40")).toMatchObject({
      code: 2,
      err: expect.stringContaining("expected 4 to 16"),
    });
    expect(await hash("x", "s3cret")).toMatchObject({ code: 2, out: "" });
    expect(await hash("x", "--algorithm", "md5")).toMatchObject({
      code: 2,
      err: expect.stringContaining("bcrypt or argon2id"),
    });
  });
});
