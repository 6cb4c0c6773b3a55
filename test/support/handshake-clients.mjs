// node handshake-clients.mjs PORT CLIENTS SECONDS NAME: so many clients shake hands in a closed loop, each time anew.
// Prints one line of JSON: how many, how many failed, and how long they waited (ms).
import { connect } from "node:tls";

const [port, clients, seconds, servername] = process.argv.slice(2);
const waits = [];
const failures = {};
const until = performance.now() + Number(seconds) * 1000;

function once() {
  return new Promise((resolve) => {
    const beganMs = performance.now();
    const socket = connect({ host: "127.0.0.1", port: Number(port), servername, rejectUnauthorized: false });
    const failed = (cause) => {
      failures[cause] = (failures[cause] ?? 0) + 1;
      waits.push(performance.now() - beganMs);
      socket.destroy();
      resolve();
    };
    socket.setTimeout(30_000, () => failed("timeout"));
    socket.once("error", (error) => failed(error.code ?? error.message));
    socket.once("secureConnect", () => {
      waits.push(performance.now() - beganMs);
      socket.destroy();
      resolve();
    });
  });
}

async function loop() {
  while (performance.now() < until) await once();
}

await Promise.all(Array.from({ length: Number(clients) }, loop));
waits.sort((a, b) => a - b);
const at = (share) => Math.round(waits[Math.min(waits.length - 1, Math.floor(waits.length * share))]);
console.log(JSON.stringify({ handshakes: waits.length, failures, medianMs: at(0.5), p99Ms: at(0.99), maxMs: at(1) }));
