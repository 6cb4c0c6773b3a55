/** Password hashes: verified off the loop, a few at once, each verdict remembered without the password. */
import { describe, expect, test } from "bun:test";
import { PasswordChecks } from "../../../../src/data/guards/authorization/password-checks.ts";
import { checkPasswordHash, isPasswordHash } from "../../../../src/data/guards/authorization/password-hash.ts";
import { GateFull } from "../../../../src/lib/gate.ts";
import { passwordChecksPerClientMax, passwordVerdictsMax } from "../../../../src/lib/limits.ts";
import { startOrigin } from "../../../support/origins.ts";
import { startPatientProxy } from "../../../support/proxy.ts";
import { send } from "../../../support/send.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const hashOf = (password: string) => Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });

describe("a check", () => {
  test("waits for the hash once, and knows the verdict from then on, right or wrong", async () => {
    const checks = new PasswordChecks();
    const hash = await hashOf("secret");
    for (const [password, verdict] of [
      ["secret", true],
      ["wrong", false],
    ] as const) {
      const first = checks.check(hash, bytes(password), "192.0.2.1");
      expect(first).toBeInstanceOf(Promise);
      expect(await first).toBe(verdict);
      expect(checks.check(hash, bytes(password), "192.0.2.1")).toBe(verdict);
    }
  });
  test("of the same password at the same time is made once", async () => {
    const checks = new PasswordChecks();
    const hash = await hashOf("secret");
    const many = Array.from({ length: 50 }, () => checks.check(hash, bytes("secret"), "192.0.2.1"));
    expect(new Set(many).size).toBe(1);
    expect(await many[0]).toBe(true);
  });
  test("of a new hash is made anew: a changed password is in force at once", async () => {
    const checks = new PasswordChecks();
    expect(await checks.check(await hashOf("old"), bytes("old"), "192.0.2.1")).toBe(true);
    expect(await checks.check(await hashOf("new"), bytes("old"), "192.0.2.1")).toBe(false);
  });
  test("by somebody who tries out many is turned away after a few, and drives out nobody who knows his", async () => {
    const checks = new PasswordChecks();
    const hash = await hashOf("secret");
    await checks.check(hash, bytes("secret"), "192.0.2.1");
    const tries = await Promise.allSettled(
      Array.from({ length: 30 }, async (_, i) => checks.check(hash, bytes(`guess ${i}`), "192.0.2.2")),
    );
    const refused = tries.filter((one) => one.status === "rejected");
    expect(refused).toHaveLength(30 - passwordChecksPerClientMax);
    expect(refused.every((one) => one.reason instanceof GateFull)).toBe(true);
    expect(checks.check(hash, bytes("secret"), "192.0.2.1")).toBe(true);
  });
  test("counts an IPv6 client by its /64: one of them does not fill the queue under many addresses", async () => {
    const checks = new PasswordChecks();
    const hash = await hashOf("secret");
    const tries = await Promise.allSettled(
      Array.from({ length: 30 }, async (_, i) => checks.check(hash, bytes(`guess ${i}`), `2001:db8::${i + 1}`)),
    );
    expect(tries.filter((one) => one.status === "rejected")).toHaveLength(30 - passwordChecksPerClientMax);
  });
  test("keeps right verdicts however many wrong ones there are", async () => {
    const checks = new PasswordChecks();
    const hash = await hashOf("secret");
    await checks.check(hash, bytes("secret"), "192.0.2.1");
    // A text that is no hash is refused at once: verdicts without the work.
    const wrong = { verify: Bun.password.verify };
    Bun.password.verify = async () => false;
    try {
      for (let i = 0; i < passwordVerdictsMax + 10; i++) await checks.check(hash, bytes(`guess ${i}`), "192.0.2.2");
      expect(checks.check(hash, bytes("secret"), "192.0.2.1")).toBe(true);
      expect(checks.check(hash, bytes("guess 0"), "192.0.2.2")).toBeInstanceOf(Promise);
      expect(checks.check(hash, bytes(`guess ${passwordVerdictsMax}`), "192.0.2.2")).toBe(false);
    } finally {
      Bun.password.verify = wrong.verify;
    }
  });
});

describe("hashes in a configuration", () => {
  test("of every kind that Bun and htpasswd write are taken as hashes", async () => {
    const bcrypt = await hashOf("secret");
    const argon = await Bun.password.hash("secret", { algorithm: "argon2id", memoryCost: 1024, timeCost: 1 });
    const kinds = ["$2a$", "$2b$", "$2y$"].map((prefix) => prefix + bcrypt.slice(4)).concat(argon);
    await using up = await startOrigin();
    const users = Object.fromEntries(kinds.map((hash, i) => [`u${i}`, hash]));
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false, authorization: ${JSON.stringify({ type: "basic", users })} } } } }`,
    );
    for (const user of Object.keys(users)) {
      const as = (password: string) =>
        send(proxy.port, "/", { fields: [["Authorization", `Basic ${btoa(`${user}:${password}`)}`]] });
      expect([user, (await as("secret")).status, (await as("wrong")).status]).toEqual([user, 200, 401]);
      expect([user, (await as("secret")).status]).toEqual([user, 200]);
    }
  });
  test("that are cut, or ask for more work than anybody would wait for, are errors", async () => {
    const bcrypt = await hashOf("secret");
    const wrong = [
      bcrypt.slice(0, -1),
      `${bcrypt}x`,
      bcrypt.replace("$04$", "$03$"),
      bcrypt.replace("$04$", "$17$"),
      "$2b$10$",
      "$argon2id$x",
      "$argon2id$v=19$m=9999999,t=2,p=1$0xnLVmynq2gJPdpj6hlU2g$zRexUfZfRmEAmCyV6rB0Buek",
    ];
    for (const text of wrong) {
      expect([text, isPasswordHash(text)]).toEqual([text, true]);
      expect(() => checkPasswordHash(text)).toThrow(/hash/);
    }
    expect(() => checkPasswordHash(bcrypt)).not.toThrow();
    for (const text of ["secret", "$2", "$1$abc", "2b$10$", ""])
      expect([text, isPasswordHash(text)]).toEqual([text, false]);
  });
  test("do not hold up other requests while they are compared", async () => {
    await using up = await startOrigin();
    const slow = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 14 });
    await using proxy = await startPatientProxy(`
upstreams:
  a.test:
    paths:
      "/": { servers: ["${up.address}"], healthcheck: false, authorization: ${JSON.stringify({ type: "basic", users: { ann: slow } })} }
      "/open": { servers: ["${up.address}"], healthcheck: false }
`);
    const order: string[] = [];
    const slowOne = send(proxy.port, "/", { fields: [["Authorization", `Basic ${btoa("ann:secret")}`]] }).then(
      (answer) => {
        order.push("slow");
        return answer;
      },
    );
    for (let i = 0; i < 3; i++) {
      expect((await send(proxy.port, "/open")).status).toBe(200);
      order.push("open");
    }
    expect((await slowOne).status).toBe(200);
    expect(order[0]).toBe("open");
  });
});

test("beside hashes a wrong plain password takes as much work as an unknown user: the time tells no names", async () => {
  await using up = await startOrigin();
  const users = { ann: "plain-1", bob: await hashOf("secret") };
  await using proxy = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false, authorization: ${JSON.stringify({ type: "basic", users })} } } } }`,
  );
  const { verify } = Bun.password;
  let compared = 0;
  Bun.password.verify = (...given: Parameters<typeof verify>) => (compared++, verify(...given));
  try {
    for (const [pair, status, more] of [
      ["ann:guess-1", 401, 1],
      ["eve:guess-2", 401, 1],
      ["bob:guess-3", 401, 1],
      // The hash of bob opens nothing for ann.
      ["ann:secret", 401, 1],
      ["ann:plain-1", 200, 0],
    ] as const) {
      const before = compared;
      const answer = await send(proxy.port, "/", { fields: [["Authorization", `Basic ${btoa(pair)}`]] });
      expect([pair, answer.status, compared - before]).toEqual([pair, status, more]);
    }
  } finally {
    Bun.password.verify = verify;
  }
});

test("credentials that wait too many at once are answered 503 with when to come again, never let through", async () => {
  await using up = await startOrigin();
  const slow = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 10 });
  await using proxy = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false, authorization: ${JSON.stringify({ type: "basic", users: { ann: slow } })} } } } }`,
  );
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      send(proxy.port, "/", { fields: [["Authorization", `Basic ${btoa(`ann:guess ${i}`)}`]] }),
    ),
  );
  expect([...new Set(answers.map(({ status }) => status))].sort()).toEqual([401, 503]);
  expect(answers.find(({ status }) => status === 503)!.field("retry-after")).toBe("1");
  expect(up.requests).toHaveLength(0);
});
