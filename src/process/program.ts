/** How this very program is started again: as a daemon, as its own successor. */

/**
 * The interpreter and script when run from source, the binary itself when compiled. The binary is named by its path, so
 * that what lies there by now is started.
 */
export function programWords(): string[] {
  // BUN(1.4.4): nothing else tells a compiled program from a script; remove when Bun says it.
  const isCompiled = Bun.main.startsWith("/$bunfs/");
  return isCompiled ? [process.execPath] : [process.execPath, Bun.main];
}
