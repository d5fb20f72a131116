// The other end: dials out to the server and forwards what comes back to a port of this host.
import { dialTunnelSet } from "revdial";
import { forwardTo } from "revdial/http";

const [url = "", name = "", port = ""] = process.argv.slice(2);
const token = process.env.TOKEN;
const right =
  /^wss?:\/\//.test(url) && /^[a-z0-9-]{1,32}$/.test(name) && Number(port) > 0 && Number(port) < 65_536;
if (!right || !token) {
  console.error("usage: TOKEN=secret node agent.mjs ws://server:8090 <name> <local port>");
  process.exit(2);
}

// One tunnel that is dialled again whenever it is lost.
const tunnels = dialTunnelSet(new URL(`/connect/${name}`, url), {
  connections: 1,
  agent: "example-agent/1",
  headers: { authorization: `Bearer ${token}` },
  onMember: () => console.log("connected"),
  onDown(error) {
    console.log(`not connected: ${error.code}`);
    // Two of one name would replace each other for ever.
    if (error.code === "REPLACED") void tunnels.close();
  },
});
tunnels.serve(forwardTo({ host: "127.0.0.1", port: Number(port) }));

process.once("SIGINT", () => void tunnels.close());
