/** Static files: a folder served for GET and HEAD. */
import type { Exchange, OwnReply } from "../exchange.ts";

/** A folder and how its files are answered; compiled once per route or listener. */
export interface FileTree {
  /** absolute, symlinks resolved */
  readonly root: string;
  /**
   * @param exchange method and conditional fields are asked from it
   * @param path the path below the root, still percent-encoded, beginning with "/"; never a query
   */
  answer(exchange: Exchange, path: string): Promise<OwnReply>;
}
