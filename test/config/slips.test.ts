/** A slip of the finger in a file with secrets: whatever becomes of the YAML, no message and no quoted line shows one. */
import { expect, test } from "bun:test";
import { problemsAsJson, renderProblems } from "../../src/config/problem.ts";
import { rulesOf } from "./support.ts";

const secrets = Array.from({ length: 10 }, (_, i) => `Zq${i}s3cret${i}w`);
const file = `provider: file
consul:
  address: http://127.0.0.1:8500
  token: ${secrets[0]}
authorization: {type: apikey, keys: {ci: "${secrets[1]}", phone: '${secrets[2]}'}}
server_headers:
  - "Authorization: Bearer ${secrets[3]}"
upstreams:
  a.test:
    authorization:
      type: basic
      data: "user:${secrets[4]}"
    paths:
      "/":
        servers: ["127.0.0.1:80"]
        authorization:
          type: basic
          users:
            ann: ${secrets[5]}
            bob: "${secrets[6]}"
      "/b":
        servers: ["127.0.0.1:80"]
        authorization: {type: jwt, data: "${secrets[7]}${secrets[7]}"}
        server_headers: ["X-Api-Key: ${secrets[8]}"]
      "/c":
        servers: ["127.0.0.1:80"]
        authorization: [basic, "u:${secrets[9]}"]
`;
/** What is left of one when a slip falls into it is still most of it. */
const pieces = secrets.flatMap((secret) => [secret.slice(0, -3), secret.slice(3)]);

/** @returns the problems that show a secret */
function shown(text: string): string[] {
  const { problems } = rulesOf(text);
  return problems.flatMap((problem) => {
    const told = renderProblems([problem]) + problemsAsJson([problem]);
    return pieces.some((piece) => told.includes(piece)) ? [told] : [];
  });
}

function* places(): Iterable<number> {
  for (let at = 0; at < file.length; at++) yield at;
}

test("a character too few, anywhere", () => {
  const leaks = [...places()].flatMap((at) => shown(file.slice(0, at) + file.slice(at + 1)));
  expect(leaks).toEqual([]);
}, 60_000);

test("a line that is missing, or indented by too much or too little", () => {
  const lines = file.split("\n");
  const leaks = lines.flatMap((line, i) => {
    const others = (instead: string[]) => lines.toSpliced(i, 1, ...instead).join("\n");
    return [[], [` ${line}`], [`  ${line}`], [`\t${line}`], [line.replace(/^ {1,2}/, "")], [line, line]].flatMap(
      (instead) => shown(others(instead)),
    );
  });
  expect(leaks).toEqual([]);
}, 60_000);

for (const mark of ['"', ":", "#", "{", "]", ",", "- ", "&", "*", "!", "|", "\n", "\t"]) {
  test(`${JSON.stringify(mark)} too many, anywhere`, () => {
    const leaks = [...places()].flatMap((at) => shown(file.slice(0, at) + mark + file.slice(at)));
    expect(leaks).toEqual([]);
  }, 60_000);
}
