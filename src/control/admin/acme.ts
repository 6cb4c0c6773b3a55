/** The original's `/acme_create`, `/acme_order/NAME` and `/.well-known/acme-challenge/TOKEN`; the first two with the key (B25). */
import { isToken, type Challenges } from "../../data/acme/challenges.ts";
import type { OwnReply } from "../../data/exchange.ts";
import { refuse } from "../../data/guards/guard.ts";
import { AcmeRefusal, type Acme } from "../acme/acme.ts";
import { AcmeError } from "../acme/acme-error.ts";
import { textReply, type Endpoint } from "./endpoint.ts";

const orderPath = "/acme_order/";
const challengePath = "/.well-known/acme-challenge/";

export function acmeEndpoints(acme: Pick<Acme, "createAccount" | "order" | "challenges">): Endpoint[] {
  return [
    {
      methods: ["*"],
      path: "/acme_create",
      access: "key",
      answer: () => attempt(async () => `${await acme.createAccount()}\n`),
    },
    {
      methods: ["*"],
      path: orderPath,
      access: "key",
      answer: ({ path, query }) =>
        attempt(async () => {
          const done = await acme.order(path.slice(orderPath.length), query.has("force"));
          return done === "fresh"
            ? "Fresh certificate exists. Not renewing ! \n"
            : "Certificate is successfully generated \n";
        }),
    },
    {
      methods: ["GET"],
      path: challengePath,
      // What it tells is told to everybody on the public port, for as long as the order is pending.
      access: "open",
      answer: ({ path }) => challenge(acme.challenges, path.slice(challengePath.length)),
    },
  ];
}

async function attempt(work: () => Promise<string>): Promise<OwnReply> {
  try {
    const text = await work();
    return textReply(200, text, text.trim());
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    if (error instanceof AcmeRefusal) return refuse(400, message);
    if (error instanceof AcmeError || code !== undefined) return refuse(500, message);
    throw error;
  }
}

async function challenge(challenges: Challenges, token: string): Promise<OwnReply> {
  const found = isToken(token) ? await challenges.find(token) : undefined;
  return found === undefined ? textReply(404, "Not found\n") : textReply(200, found);
}
