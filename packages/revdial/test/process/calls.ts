/** Many calls at once over one tunnel, some of them given up: does every answer belong to its question? */
import { createHash } from "node:crypto";
import { type IncomingRequest, type OutgoingResponse, RevdialError, type Tunnel } from "../../src/index.ts";
import { seededRandom } from "../../src/testing/index.ts";

export interface Tally {
  answered: number;
  codes: Record<string, number>;
  /** Answers to another question. Must be none. */
  crossed: string[];
}

const BODY_BYTES_MAX = 20_000;

function bodyOf(id: string, bytes: number): Uint8Array {
  return new Uint8Array(Buffer.alloc(bytes, `${id};`));
}

async function sumOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of body) hash.update(chunk);
  return hash.digest("hex");
}

/** Answers the sum of the body, the path and a body of its own that follows from both. */
export async function echo(request: IncomingRequest): Promise<OutgoingResponse> {
  if (request.path.startsWith("/wait")) await aborted(request.signal);
  const sum = await sumOf(request.body);
  const bytes = Number.parseInt(sum.slice(0, 4), 16) % BODY_BYTES_MAX;
  return {
    status: 200,
    headers: [
      ["x-path", request.path],
      ["x-sum", sum],
    ],
    body: bodyOf(sum, bytes),
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}

async function askOne(
  tunnel: Tunnel,
  id: string,
  bytes: number,
  abortAfterTurns: number | undefined,
  tally: Tally,
): Promise<void> {
  const cancel = new AbortController();
  const turn = (left: number) => void setImmediate(() => (left > 0 ? turn(left - 1) : cancel.abort()));
  if (abortAfterTurns !== undefined) turn(abortAfterTurns);
  const body = bodyOf(id, bytes);
  const path = `/${abortAfterTurns === undefined ? "call" : "maybe"}/${id}`;
  try {
    const reply = await tunnel.request({
      service: "echo",
      method: "POST",
      path,
      body,
      signal: cancel.signal,
    });
    const headers = Object.fromEntries(reply.headers);
    const sum = createHash("sha256").update(body).digest("hex");
    const back = await sumOf(reply.body);
    const expected = bodyOf(sum, Number.parseInt(sum.slice(0, 4), 16) % BODY_BYTES_MAX);
    const right = headers["x-path"] === path && headers["x-sum"] === sum;
    if (!right || back !== createHash("sha256").update(expected).digest("hex"))
      tally.crossed.push(`${path}: ${JSON.stringify(headers)}`);
    tally.answered += 1;
  } catch (error) {
    if (!(error instanceof RevdialError)) throw error;
    tally.codes[error.code] = (tally.codes[error.code] ?? 0) + 1;
  }
}

/** `count` calls in one turn; one in `abortEvery` is given up after some turns. */
export async function askMany(tunnel: Tunnel, count: number, abortEvery: number): Promise<Tally> {
  const random = seededRandom(count);
  const tally: Tally = { answered: 0, codes: {}, crossed: [] };
  await Promise.all(
    Array.from({ length: count }, (_, index) => {
      const turns = index % abortEvery === abortEvery - 1 ? Math.floor(random() * 200) : undefined;
      return askOne(tunnel, `${index}-${random()}`, Math.floor(random() * BODY_BYTES_MAX), turns, tally);
    }),
  );
  return tally;
}

/** Of how many calls one is given up in this way: every second runs by then, every eighth with the rest of its body to come. */
const waysToGiveUp = [
  { turns: 0, bytes: 0 },
  { turns: 1, bytes: 1000 },
  { turns: "running", bytes: 0 },
  { turns: 2, bytes: 0 },
  { turns: "running", bytes: 1000 },
  { turns: 3, bytes: 1000 },
  { turns: "running", bytes: 0 },
  { turns: "running", bytes: "endless" },
] as const;

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) {
    yield new Uint8Array(100);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

async function abortOne(tunnel: Tunnel, index: number): Promise<string> {
  const { turns, bytes } = waysToGiveUp[index % waysToGiveUp.length] as (typeof waysToGiveUp)[number];
  const cancel = new AbortController();
  const runs = Promise.withResolvers<void>();
  const asked = tunnel.request({
    service: "echo",
    method: "POST",
    path: "/wait",
    signal: cancel.signal,
    body: bytes === "endless" ? endless() : new Uint8Array(bytes),
    onInterim: () => runs.resolve(),
  });
  const outcome = asked.then(
    () => "answered",
    (error: unknown) => (error instanceof RevdialError ? error.code : String(error)),
  );
  // One that ends otherwise is not waited for.
  if (turns === "running") await Promise.race([runs.promise, outcome]);
  else
    for (let turn = 0; turn < turns; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  cancel.abort();
  return outcome;
}

/** Calls that are all given up, `atOnce` at a time: before they leave, while they are on their way, while they run. */
export async function abortMany(
  tunnel: Tunnel,
  count: number,
  atOnce: number,
): Promise<Record<string, number>> {
  const codes: Record<string, number> = {};
  let begun = 0;
  const worker = async () => {
    while (begun < count) {
      begun += 1;
      const outcome = await abortOne(tunnel, begun);
      codes[outcome] = (codes[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return codes;
}
