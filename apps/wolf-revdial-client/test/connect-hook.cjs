// Preloaded into a process: writes down where every socket of it is connected to, whoever asks.
const { appendFileSync } = require("node:fs");
const net = require("node:net");

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...given) {
  // Node's own callers hand over their normalised list.
  const [first, second] = Array.isArray(given[0]) ? given[0] : given;
  const { host, port, path } =
    typeof first === "object" && first !== null
      ? first
      : typeof first === "string"
        ? { path: first }
        : { port: first, host: typeof second === "string" ? second : undefined };
  const target = path ?? `${host ?? "localhost"}:${port}`;
  appendFileSync(process.env.CONNECTS_FILE, `${JSON.stringify(target)}\n`);
  return connect.apply(this, given);
};
