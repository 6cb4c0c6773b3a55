/** `GET /explain?url=…`: what would become of a request in the running proxy, with the health of its servers now. */
import type { Explanation } from "../../data/explain/explain.ts";
import { BadQuestion, readQuestion, type Question } from "../../data/explain/question.ts";
import { showExplanation } from "../../data/explain/show.ts";
import { refuse } from "../../data/guards/guard.ts";
import { jsonReply, textReply, wantsJson, type Endpoint } from "./endpoint.ts";

/** @param explain its answer holds no secrets */
export function explainEndpoint(explain: (question: Question) => Promise<Explanation>): Endpoint {
  return {
    methods: ["GET"],
    path: "/explain",
    access: "key",
    async answer(request) {
      const { query } = request;
      let question: Question;
      try {
        const method = (query.get("method") ?? "GET").toUpperCase();
        question = readQuestion(
          method,
          query.get("url") ?? "",
          query.getAll("header"),
          query.get("client") ?? undefined,
        );
      } catch (error) {
        if (error instanceof BadQuestion) return refuse(400, `${error.message} (?url=, method=, header=, client=)`);
        throw error;
      }
      const found = await explain(question);
      return wantsJson(request) ? jsonReply(200, found) : textReply(200, `${showExplanation(found)}\n`);
    },
  };
}
