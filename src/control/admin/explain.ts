/**
 * `/explain`: what would become of a request in the running proxy, with the health of its servers now. `GET` has the
 * question in its query, for people; `POST` in a JSON body, so that credentials of a request stand in no URL.
 */
import type { Explanation } from "../../data/explain/explain.ts";
import { BadQuestion, readQuestion, type Question } from "../../data/explain/question.ts";
import { showExplanation } from "../../data/explain/show.ts";
import { refuse } from "../../data/guards/guard.ts";
import { explainBodyBytesMax } from "../../lib/limits.ts";
import { isRefusal, readBody } from "./body.ts";
import { jsonReply, textReply, wantsJson, type AdminRequest, type Endpoint } from "./endpoint.ts";

/** @param explain its answer holds no secrets */
export function explainEndpoint(explain: (question: Question) => Promise<Explanation>): Endpoint {
  return {
    methods: ["GET", "POST"],
    path: "/explain",
    access: "key",
    async answer(request) {
      let asked = request.query;
      if (request.exchange.method === "POST") {
        const body = await readBody(request.exchange, explainBodyBytesMax);
        if (isRefusal(body)) return body;
        const read = readJson(body);
        if (!read) return refuse(400, 'expected a JSON object such as {"url": "http://a.test/", "header": ["A: b"]}');
        asked = read;
      }
      return answer(request, asked, explain);
    },
  };
}

async function answer(
  request: AdminRequest,
  asked: URLSearchParams,
  explain: (question: Question) => Promise<Explanation>,
) {
  let question: Question;
  try {
    const method = (asked.get("method") ?? "GET").toUpperCase();
    question = readQuestion(method, asked.get("url") ?? "", asked.getAll("header"), asked.get("client") ?? undefined);
  } catch (error) {
    if (!(error instanceof BadQuestion)) throw error;
    // The message quotes what was asked, which is for the client alone.
    return refuse(400, `${error.message} (url, method, header, client)`, [], "the question cannot be understood");
  }
  const found = await explain(question);
  return wantsJson(request) ? jsonReply(200, found) : textReply(200, `${showExplanation(found)}\n`);
}

/** @returns undefined for what is no object of texts and lists of texts */
function readJson(body: Uint8Array): URLSearchParams | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const asked = new URLSearchParams();
  for (const [name, given] of Object.entries(value)) {
    for (const text of Array.isArray(given) ? given : [given]) {
      if (typeof text !== "string") return undefined;
      asked.append(name, text);
    }
  }
  return asked;
}
