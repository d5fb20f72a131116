/**
 * Process: a legacy client, with no more to it than it takes to carry bytes, so that what is measured is the control plane's end. Its
 * habits, and what it gets wrong, are tested elsewhere.
 */
import { connect } from "node:net";
import { WebSocket } from "ws";
import { serveCalls } from "./process.ts";

const options = {
  perMessageDeflate: false,
  // The same favour the tunnel gets on loopback.
  generateMask: (mask: Buffer) => void mask.fill(0),
};

function carry(url: string, origin: number): void {
  const data = new WebSocket(url, options);
  data.on("error", () => undefined);
  data.once("open", () => {
    const target = connect({ port: origin, host: "127.0.0.1", noDelay: true });
    data.on("message", (bytes: Buffer) => target.write(bytes));
    target.on("data", (bytes) => data.send(bytes));
    target.on("error", () => undefined);
    data.once("close", () => target.destroy());
    target.once("close", () => data.terminate());
  });
}

serveCalls({
  connect: async ({ plane, origin }: { plane: number; origin: number }) => {
    const url = `ws://127.0.0.1:${plane}`;
    const control = new WebSocket(`${url}/api/v1/revdial?runnerid=wolf-bench`, options);
    control.on("message", (line: Buffer) => {
      const { command, connPath } = JSON.parse(line.toString()) as Record<string, string>;
      if (command === "conn-ready") carry(`${url}${connPath}`, origin);
    });
    await new Promise((resolve, reject) => control.once("open", resolve).once("error", reject));
  },
});
