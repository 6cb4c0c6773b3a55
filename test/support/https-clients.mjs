// node https-clients.mjs PORT NAME KEPT NEW: so many clients ask on kept connections, and so many on a new one each time,
// until standard input ends. Prints one line of JSON: requests answered with 200, failures by cause, handshakes made.
import { Agent, request } from "node:https";

const [port, name, kept, fresh] = process.argv.slice(2);
let going = true;
let answered = 0;
let handshakes = 0;
const failures = {};
process.stdin.resume().on("end", () => (going = false));

function once(agent) {
  return new Promise((resolve) => {
    const done = (cause) => {
      if (cause === undefined) answered++;
      else failures[cause] = (failures[cause] ?? 0) + 1;
      resolve();
    };
    const headers = { Host: name };
    const options = {
      host: "127.0.0.1",
      port,
      servername: name,
      agent,
      headers,
      rejectUnauthorized: false,
      path: "/x",
    };
    const sent = request(options, (answer) => {
      let bytes = 0;
      answer.on("data", (data) => (bytes += data.length));
      answer.on("error", (error) => done(`answer ${error.code}`));
      answer.on("end", () => done(answer.statusCode === 200 && bytes > 0 ? undefined : `status ${answer.statusCode}`));
    });
    sent.on("socket", (socket) => {
      if (!sent.reusedSocket) socket.once("secureConnect", () => handshakes++);
    });
    // A kept connection that ends before the request has left is not the proxy's failure: RFC 9112 9.3.1 lets it be repeated.
    sent.on("error", (error) =>
      done(sent.reusedSocket && error.code === "ECONNRESET" ? "reused ECONNRESET" : (error.code ?? error.message)),
    );
    sent.end();
  });
}

async function client(keepAlive) {
  const agent = keepAlive ? new Agent({ keepAlive, maxSockets: 1 }) : new Agent({ maxCachedSessions: 0 });
  while (going) await once(agent);
  agent.destroy();
}

let settled = false;
// Also when a client waits for an event that never comes, or something throws: the counts are what is asked for.
process.on("exit", () => {
  if (!settled) failures["never settled"] = 1;
  console.log(JSON.stringify({ answered, handshakes, failures }));
});
await Promise.all([
  ...Array.from({ length: Number(kept) }, () => client(true)),
  ...Array.from({ length: Number(fresh) }, () => client(false)),
]);
settled = true;
