// node http2-clients.mjs PORT NAME KEPT STREAMS NEW: so many sessions are kept, each with so many requests at once, and so
// many clients open a session for every few requests, until standard input ends. A session that the server ends in order
// (GOAWAY) is replaced. Prints one line of JSON: requests answered with 200, failures by cause, sessions opened.
import { connect } from "node:http2";

const [port, name, kept, streams, fresh] = process.argv.slice(2);
let going = true;
let answered = 0;
let sessions = 0;
const failures = {};
process.stdin.resume().on("end", () => (going = false));
const failed = (cause) => (failures[cause] = (failures[cause] ?? 0) + 1);

function open() {
  return new Promise((resolve) => {
    const session = connect(`https://127.0.0.1:${port}`, { servername: name, rejectUnauthorized: false });
    session.on("error", (error) => failed(`session ${error.code}`));
    session.once("connect", () => {
      sessions++;
      resolve(session);
    });
    session.once("close", () => resolve(undefined));
    session.on("goaway", () => (session.leaving = true));
  });
}

/** @returns false when the session takes no more requests */
function ask(session) {
  return new Promise((resolve) => {
    if (session.leaving || session.closed || session.destroyed) return resolve(false);
    const stream = session.request({ ":path": "/x", ":authority": name });
    let status = 0;
    let bytes = 0;
    let unseen = false;
    stream.on("response", (head) => (status = head[":status"]));
    stream.on("data", (data) => (bytes += data.length));
    // What the server says that it has not looked at is to be asked elsewhere (RFC 9113 8.7).
    stream.on("error", (error) => {
      unseen = stream.rstCode === 7 || error.code === "ERR_HTTP2_GOAWAY_SESSION";
      if (!unseen) failed(`stream ${error.code} ${stream.rstCode}`);
    });
    stream.on("close", () => {
      if (status === 200 && bytes > 0 && stream.rstCode === 0) answered++;
      else if (!unseen) failed(`status ${status}, ${bytes} bytes, reset ${stream.rstCode}`);
      resolve(!unseen);
    });
    stream.end();
  });
}

async function keep() {
  while (going) {
    const session = await open();
    if (!session) continue;
    await Promise.all(
      Array.from({ length: Number(streams) }, async () => {
        while (going && (await ask(session)));
      }),
    );
    session.close();
  }
}

async function renew() {
  while (going) {
    const session = await open();
    if (!session) continue;
    for (let i = 0; i < 5; i++) await ask(session);
    session.close();
  }
}

let settled = false;
// Also when a client waits for an event that never comes, or something throws: the counts are what is asked for.
process.on("exit", () => {
  if (!settled) failures["never settled"] = 1;
  console.log(JSON.stringify({ answered, sessions, failures }));
});
await Promise.all([...Array.from({ length: Number(kept) }, keep), ...Array.from({ length: Number(fresh) }, renew)]);
settled = true;
