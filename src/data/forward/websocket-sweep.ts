/** The clock of all bridged WebSockets: those that stand or are ending. */
import { Sweeper } from "../../lib/sweeper.ts";

export const webSockets = new Sweeper(1_000);
