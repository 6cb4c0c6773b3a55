/** The command line: every verb and flag in one table, and the way from arguments to a verb. */
import { adminFlags, keyFlag } from "./cli/admin-flags.ts";
import { readArguments, UsageError } from "./cli/arguments.ts";
import type { Environment, Verb } from "./cli/verb.ts";
import { workerVariable } from "./process/wire.ts";

const conf = {
  type: "string",
  short: "c",
  value: "FILE",
  doc: "main.yaml (default: $ARALEZ_CONFIG, ./main.yaml, /etc/aralez/main.yaml)",
} as const;

/** `""` is what runs without a verb. Help, completion, errors and the parser all read this table. */
export const verbs = {
  "": {
    doc: "run the proxy; without any configuration file, a demo on loopback",
    flags: {
      conf,
      daemon: { type: "boolean", short: "d", doc: "run in the background; ends when that one serves" },
      upgrade: { type: "boolean", short: "u", doc: "take over from the running proxy, without a failed request" },
      test: { type: "boolean", short: "t", doc: "check the configuration and exit, as `validate`" },
      version: { type: "boolean", short: "v", doc: "print the version and exit" },
    },
    load: () => import("./cli/run.ts"),
  },
  validate: {
    doc: "check main.yaml, upstreams.yaml and conf.d, show every problem",
    flags: {
      conf,
      format: { type: "string", value: "FORMAT", words: ["text", "json"], doc: "text or json (default: text)" },
    },
    load: () => import("./cli/validate.ts"),
  },
  certs: {
    doc: "list certificates and hosts without one; exits 1 if one is bad or expired, or a host has none",
    flags: { conf, json: { type: "boolean", doc: "as JSON" } },
    load: () => import("./cli/certs.ts"),
  },
  status: {
    doc: "show the routes of the running proxy and how its servers are; exits 1 if one is down",
    flags: { conf, ...adminFlags, key: keyFlag },
    load: () => import("./cli/status.ts"),
  },
  health: {
    doc: "ask whether the running proxy is alive: exits 0 if it is",
    flags: { conf, ...adminFlags, ready: { type: "boolean", doc: "whether it is ready: not while it is stopping" } },
    load: () => import("./cli/health.ts"),
  },
  reload: {
    doc: "have the running proxy read its files again, and say what that changed or what is wrong",
    flags: { conf, ...adminFlags, key: keyFlag },
    load: () => import("./cli/reload.ts"),
  },
  upgrade: {
    doc: "replace the running proxy by the program on the disk, without a failed request; on a failure it goes on",
    flags: { conf },
    load: () => import("./cli/upgrade.ts"),
  },
  token: {
    doc: "have the running proxy issue a token for `authorization: {type: jwt}`, and print it",
    flags: {
      conf,
      ...adminFlags,
      key: keyFlag,
      owner: { type: "string", value: "NAME", doc: "whose token it is, for the log" },
      minutes: { type: "string", value: "N", doc: "how long it is good for, 1 to 525600 (default: 60)" },
    },
    load: () => import("./cli/token.ts"),
  },
  explain: {
    doc: "tell what would become of a request, by the running proxy, else by the files: route, guards, headers, servers",
    operand: { name: "[METHOD] URL", required: true, most: 2 },
    flags: {
      conf,
      header: { type: "string", short: "H", multiple: true, value: "LINE", doc: '"Name: value"; may be repeated' },
      client: { type: "string", value: "IP", doc: "the client's address (default: 127.0.0.1)" },
      offline: { type: "boolean", doc: "by the files, even where a running proxy could be asked" },
      "no-check": { type: "boolean", doc: "by the files: do not ask the servers whether they are up" },
      ...adminFlags,
      key: keyFlag,
    },
    load: () => import("./cli/explain.ts"),
  },
  init: {
    doc: "write a commented, working configuration into a folder",
    operand: { name: "DIR", required: true },
    flags: {},
    load: () => import("./cli/init.ts"),
  },
  proxy: {
    doc: "run a proxy from one address to some servers, without any file",
    flags: {
      from: { type: "string", value: "ADDR", doc: "listen here (default: 127.0.0.1:8080); `:8080` = on all addresses" },
      to: {
        type: "string",
        multiple: true,
        value: "ADDR[,ADDR…]",
        doc: "forward to these, in turn: HOST:PORT, :PORT or a URL; may be repeated",
      },
      "access-log": { type: "boolean", doc: "log every request" },
      "print-config": { type: "boolean", doc: "print the two files that do the same, and exit" },
    },
    load: () => import("./cli/proxy.ts"),
  },
  schema: {
    doc: "print the JSON Schema of a configuration file, or write both into a folder",
    operand: { name: "FILE", required: false, words: ["main", "upstreams"] },
    flags: { write: { type: "string", value: "DIR", doc: "write into this folder instead of printing" } },
    load: () => import("./cli/schema.ts"),
  },
  "hash-password": {
    doc: "read a password from the terminal or standard input, print its hash for `users`",
    flags: {
      algorithm: {
        type: "string",
        value: "NAME",
        words: ["bcrypt", "argon2id"],
        doc: "bcrypt or argon2id (default: bcrypt)",
      },
      cost: { type: "string", value: "N", doc: "work for each check: bcrypt 4 to 16 (default: 10), argon2id 1 to 64" },
    },
    load: () => import("./cli/hash-password.ts"),
  },
  version: {
    doc: "print the version",
    flags: { long: { type: "boolean", doc: "also the commit, Bun's version and the platform" } },
    load: () => import("./cli/version.ts"),
  },
  help: {
    doc: "print this help, or that of a verb",
    operand: { name: "VERB", required: false },
    flags: {},
    load: () => import("./cli/help.ts"),
  },
  completion: {
    doc: "print the completion script of a shell",
    operand: { name: "SHELL", required: true, words: ["bash", "zsh"] },
    flags: {},
    load: () => import("./cli/completion.ts"),
  },
} satisfies Record<string, Verb>;

/**
 * Runs the program.
 * @param args without the interpreter and the script
 * @returns the exit code: 0 done, 1 failed, 2 used wrongly
 */
export async function cli(args: string[], env: Environment): Promise<number> {
  try {
    // A supervisor has started it: there is nobody who could type this.
    const worker = env[workerVariable];
    if (worker !== undefined && process.send)
      return await (await import("./process/worker.ts")).runWorker(Number(worker));
    const { verb, name, call } = readArguments(args, verbs, env);
    if (call.flags.help) return (await import("./cli/help.ts")).run({ ...call, operand: name });
    return await (await verb.load()).run(call);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`aralez: ${error.message}\nTry: aralez help${error.verb ? ` ${error.verb}` : ""}`);
      return 2;
    }
    // A full disk, a folder without permission: one line, not a stack.
    console.error(`aralez: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}
