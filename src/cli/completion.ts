/** The verb `completion`: scripts that complete verbs, flags and their words in a shell. */
import { helpFlag, type Call, type Flag, type Verb, type Verbs } from "./verb.ts";

export function run({ operand, verbs }: Call): number {
  console.log(operand === "zsh" ? zsh(verbs) : bash(verbs));
  return 0;
}

/** Install: `aralez completion bash > /etc/bash_completion.d/aralez`. */
export function bash(verbs: Verbs): string {
  const names = Object.keys(verbs).filter(Boolean);
  return `# bash completion of aralez: source it, or put it into /etc/bash_completion.d
_aralez() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} verb=\${COMP_WORDS[1]} words=""
  [ "$COMP_CWORD" -eq 1 ] && verb=""
  case "$verb" in ${names.join("|")}) ;; *) verb="" ;; esac
  case "$verb $before" in
${Object.entries(verbs)
  .flatMap(([name, verb]) => bashValues(name, verb))
  .join("\n")}
  esac
  case "$verb" in
${Object.entries(verbs)
  .map(([name, verb]) => `    ${name || '""'}) words="${bashWords(name, verb, names)}" ;;`)
  .join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
${names
  .filter((name) => verbs[name]?.operand?.name === "DIR")
  .map((name) => `  [ "$verb" = ${name} ] && COMPREPLY+=($(compgen -d -- "$word"))\n`)
  .join("")}}
complete -F _aralez aralez
`.trimEnd();
}

/** What follows a flag with a value: one of its words, a folder, a file, or anything. */
function bashValues(name: string, verb: Verb): string[] {
  return Object.entries(verb.flags).flatMap(([flag, { type, short, value, words }]) => {
    if (type === "boolean") return [];
    const spelled = [`--${flag}`, ...(short ? [`-${short}`] : [])].map((raw) => `"${name} ${raw}"`).join("|");
    const made = words ? `-W "${words.join(" ")}"` : value === "DIR" ? "-d" : value === "FILE" ? "-f" : undefined;
    return [`    ${spelled}) ${made ? `COMPREPLY=($(compgen ${made} -- "$word")); ` : "COMPREPLY=(); "}return ;;`];
  });
}

function bashWords(name: string, verb: Verb, names: string[]): string {
  const operands = name === "" || name === "help" ? names : (verb.operand?.words ?? []);
  const flags = Object.entries({ ...verb.flags, help: helpFlag });
  return [...operands, ...flags.flatMap(([flag, { short }]) => [`--${flag}`, ...(short ? [`-${short}`] : [])])].join(
    " ",
  );
}

/** Install: `aralez completion zsh > "${fpath[1]}/_aralez"`. */
export function zsh(verbs: Verbs): string {
  const { "": main, ...named } = verbs;
  return `#compdef aralez
_aralez() {
  local -a verbs=(
${Object.entries(named)
  .map(([name, { doc }]) => `    ${quote(`${name}:${doc}`)}`)
  .join("\n")}
  )
  local verb=""
  (( CURRENT > 2 )) && (( \${verbs[(I)\${words[2]}:*]} )) && verb=$words[2]
  case "$verb" in
${Object.entries(named)
  .map(([name, verb]) => `    ${name}) shift words; (( CURRENT-- )); _arguments ${zshArguments(name, verb)} ;;`)
  .join("\n")}
    *) _arguments ${zshFlags(main?.flags ?? {})} '1:verb:{_describe verb verbs}' ;;
  esac
}
_aralez "$@"`;
}

function zshArguments(name: string, { flags, operand }: Verb): string {
  if (name === "help") return `${zshFlags(flags)} '1:verb:{_describe verb verbs}'`;
  if (!operand) return zshFlags(flags);
  return `${zshFlags(flags)} '1:${operand.name}:${zshAction(operand.name, operand.words)}'`;
}

function zshFlags(flags: Readonly<Record<string, Flag>>): string {
  return Object.entries({ ...flags, help: helpFlag })
    .flatMap(([flag, { short, type, multiple, value, words, doc }]) => {
      const tail = `[${doc.replace(/[[\]:]/g, "\\$&")}]${type === "string" ? `:${value}:${zshAction(value, words)}` : ""}`;
      const spelled = [`--${flag}`, ...(short ? [`-${short}`] : [])];
      return spelled.map((raw) => quote(`${multiple ? "*" : ""}${raw}${tail}`));
    })
    .join(" ");
}

function zshAction(name: string | undefined, words: readonly string[] | undefined): string {
  if (words) return `(${words.join(" ")})`;
  return name === "DIR" ? "_files -/" : name === "FILE" ? "_files" : "";
}

/** One word for a shell, whatever it holds. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
