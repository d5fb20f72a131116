/** What somebody else's tunnel has in flight while another peer misbehaves: one exchange each way, which must end whole. */
import { createHash } from "node:crypto";
import type { IncomingRequest, OutgoingResponse, Tunnel } from "../../src/index.ts";
import { echo } from "./calls.ts";
import { stream, streamHash } from "./stream.ts";

/** More than a first window: its producer waits until somebody reads. */
const DOWN_BYTES = 300_000;
const UPLOAD = ["begun before it, ", "ended behind it"].map((part) => new TextEncoder().encode(part));

/** Sums of what came down, and of what the far end says has come up. */
export interface Bystander {
  down: string;
  up: string | undefined;
}

export const unharmed: Bystander = {
  down: streamHash(DOWN_BYTES),
  up: createHash("sha256").update(Buffer.concat(UPLOAD)).digest("hex"),
};

/** What the far end of a bystander serves. */
export function serveBystander(request: IncomingRequest): OutgoingResponse | Promise<OutgoingResponse> {
  if (request.path === "/down") return { status: 200, body: stream(DOWN_BYTES, { bytes: 0 }) };
  return echo(request);
}

/** Resolves when both exchanges have begun at the far end, to what finishes them. */
export async function bystander(tunnel: Tunnel): Promise<() => Promise<Bystander>> {
  const goOn = Promise.withResolvers<void>();
  async function* upload(): AsyncGenerator<Uint8Array> {
    yield UPLOAD[0] as Uint8Array;
    await goOn.promise;
    yield UPLOAD[1] as Uint8Array;
  }
  const call = { service: "bystander", method: "POST", path: "/up", body: upload() };
  const answered = tunnel.request(call);
  answered.catch(() => undefined); // Whoever finishes hears it.
  // Its OPEN follows the other one, and so does its answer.
  const download = await tunnel.request({ service: "bystander", method: "GET", path: "/down" });
  return async () => {
    goOn.resolve();
    const hash = createHash("sha256");
    for await (const chunk of download.body) hash.update(chunk);
    const { headers } = await answered;
    return { down: hash.digest("hex"), up: new Map(headers).get("x-sum") };
  };
}
