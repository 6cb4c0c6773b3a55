/** Header rules as configured: `"Name: value"` sets, `"+Name: value"` adds, `"-Name"` removes; and their keys. */
import { z } from "zod";
import { key, scalar } from "../../config/shape.ts";
import { readAuthority } from "../routing/host.ts";
import { framing, hopByHop, isFieldValue, isToken } from "../../lib/fields.ts";

/** One configured header item. `name` keeps the case it was written in. */
export interface HeaderRule {
  readonly act: "set" | "add" | "remove";
  readonly name: string;
  /** "" for remove */
  readonly value: string;
}

function headerItem(side: "client" | "server") {
  return scalar(
    '"Name: value", "+Name: value" or "-Name"',
    { type: "string", pattern: "^[+-]?[^:]+(:.*)?$" },
    (v): HeaderRule | undefined => {
      if (typeof v === "object" && v !== null && !Array.isArray(v)) {
        throw new Error('expected "Name: value", found a map: put the whole item in quotes');
      }
      if (typeof v !== "string") return undefined;
      const act = v.startsWith("+") ? "add" : v.startsWith("-") ? "remove" : "set";
      const line = act === "set" ? v : v.slice(1);
      const colon = line.indexOf(":");
      if (act === "remove" && colon >= 0)
        throw new Error(`"-Name" removes and takes no value: write "-${line.slice(0, colon).trim()}"`);
      if (act !== "remove" && colon < 0) throw new Error(`expected "Name: value", found no colon in "${v}"`);
      const name = (colon < 0 ? line : line.slice(0, colon)).trim();
      const value = colon < 0 ? "" : line.slice(colon + 1).trim();
      const lower = name.toLowerCase();
      if (!isToken(name)) throw new Error(`"${name}" is not a header name`);
      if (!isFieldValue(value)) throw new Error(`the value of "${name}" holds a control character`);
      if (/[^\x00-\xff]/.test(value))
        throw new Error(`the value of "${name}" holds a character that a header cannot carry`);
      if (lower === "host" && act === "set" && value !== "" && !readAuthority(value))
        throw new Error(`"${value}" is not a Host: expected a name or address, with or without a port`);
      if (framing.has(lower) || hopByHop.has(lower))
        throw new Error(`"${name}" belongs to the connection and cannot be changed by a rule`);
      if (lower === "host" && side === "client")
        throw new Error(`"Host" is a request header: write it under server_headers`);
      if (lower === "host" && act !== "set")
        throw new Error(`"Host" can be set, not ${act === "add" ? "added" : "removed"}`);
      if (lower === "host" && value === "") throw new Error(`"Host" needs a value`);
      return { act, name, value };
    },
  );
}

export const headerKeys = {
  client_headers: key("UHP", z.array(headerItem("client")), {
    default: "",
    doc: 'Response headers: "Name: value" sets, "+Name: value" adds a line, "-Name" removes. Merged by name, path over host over top level.',
  }),
  server_headers: key("UHP", z.array(headerItem("server")), {
    default: "",
    doc: "The same for the request sent upstream; `Host` may be set here.",
  }),
};
