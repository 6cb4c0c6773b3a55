// node http-clients.mjs PORT NAME KEPT NEW: so many clients ask on kept connections, and so many on a new one each time,
// until standard input ends. Prints one line of JSON: requests answered with 200, and failures by cause.
import { Agent, request } from "node:http";

const [port, name, kept, fresh] = process.argv.slice(2);
let going = true;
let answered = 0;
const failures = {};
process.stdin.resume().on("end", () => (going = false));

function once(agent) {
  return new Promise((resolve) => {
    const done = (cause) => {
      if (cause === undefined) answered++;
      else failures[cause] = (failures[cause] ?? 0) + 1;
      resolve();
    };
    const sent = request({ host: "127.0.0.1", port, agent, headers: { Host: name }, path: "/x" }, (answer) => {
      let bytes = 0;
      answer.on("data", (data) => (bytes += data.length));
      answer.on("error", (error) => done(`answer ${error.code}`));
      answer.on("end", () => done(answer.statusCode === 200 && bytes > 0 ? undefined : `status ${answer.statusCode}`));
    });
    sent.on("error", (error) => done(`${sent.reusedSocket ? "reused " : ""}${error.code ?? error.message}`));
    sent.end();
  });
}

async function client(keepAlive) {
  const agent = new Agent(keepAlive ? { keepAlive, maxSockets: 1 } : {});
  while (going) await once(agent);
  agent.destroy();
}

await Promise.all([
  ...Array.from({ length: Number(kept) }, () => client(true)),
  ...Array.from({ length: Number(fresh) }, () => client(false)),
]);
console.log(JSON.stringify({ answered, failures }));
