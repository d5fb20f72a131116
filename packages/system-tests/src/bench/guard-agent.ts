/** Process: an agent's end of a tunnel before a Wolf, with the guard, or passing on whatever comes. */
import { request as httpRequest } from "node:http";
import { type AskWolf, createWolfGuard, defaultWolfPolicy, type WolfReply } from "@wolfpack/wolf-api";
import { dialTunnel, type IncomingRequest, type OutgoingResponse } from "revdial";
import { serveCalls } from "./process.ts";

/** As many as are asked at once: what is measured is the work, not the wait for a place. */
const CREATES_AT_ONCE = 8;

/** As the agent asks: a connection per exchange, the exact length, the whole reply. */
function askOf(port: number): AskWolf {
  return ({ method, path, body, timeoutMs }) =>
    new Promise<WolfReply>((resolve, reject) => {
      const payload = body === undefined ? undefined : Buffer.from(body);
      const request = httpRequest({
        host: "127.0.0.1",
        port,
        method,
        path,
        agent: false,
        headers: { connection: "close", ...(payload ? { "content-length": payload.length } : {}) },
      });
      const timer = setTimeout(() => request.destroy(new Error("timeout")), timeoutMs);
      request.on("error", reject);
      request.on("response", async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
        clearTimeout(timer);
        const contentType = response.headers["content-type"];
        resolve({ status: response.statusCode ?? 0, contentType, body: Buffer.concat(chunks) });
      });
      request.end(payload);
    });
}

const answer = ({ status, contentType, body }: WolfReply): OutgoingResponse => ({
  status,
  headers: [["content-type", contentType ?? "application/json"]],
  body,
});

serveCalls({
  dial: async ({ wolf, tunnel, guarded }: { wolf: number; tunnel: number; guarded: boolean }) => {
    const ask = askOf(wolf);
    const guard = createWolfGuard({ ask, policy: defaultWolfPolicy, createsMax: CREATES_AT_ONCE });
    const bare = async ({ method, path, body }: IncomingRequest) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString("utf8");
      const post = method === "POST";
      return answer(
        await ask({
          method: post ? "POST" : "GET",
          path,
          timeoutMs: 10_000,
          ...(post ? { body: text } : {}),
        }),
      );
    };
    const guardedHandler = async ({ method, path, body, signal }: IncomingRequest) => {
      const reply = await guard({ method, path, body, signal });
      if (!reply.ok) throw new Error(`refused: ${reply.refusal.code}`);
      return answer(reply);
    };
    await dialTunnel(`ws://127.0.0.1:${tunnel}/`, {
      agent: "bench-agent",
      handler: guarded ? guardedHandler : bare,
    });
  },
});
