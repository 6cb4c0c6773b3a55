/** What is to be done once at the end of this turn of the event loop, for all connections by one immediate. */

export interface TurnEnd {
  turnEnded(): void;
}

let due: TurnEnd[] = [];
let others: TurnEnd[] = [];

/** Asked for once per turn by each; a call from within `turnEnded` means the next turn. */
export function atTurnEnd(it: TurnEnd): void {
  if (due.push(it) === 1) setImmediate(run);
}

function run(): void {
  const now = due;
  due = others;
  others = now;
  for (let i = 0; i < now.length; i++) now[i]!.turnEnded();
  now.length = 0;
}
