/** Sends a corpus to a control plane and says what was not refused as it has to be. */
import { Problem } from "@wolfpack/api-contract";
import type { HostileCase } from "./http-cases.ts";
import { type Answer, type Exchange, exchange } from "./wire.ts";

const AT_ONCE = 8;
/** A refusal tells little, whatever was sent. */
const ANSWER_BYTES_MAX = 8192;

/** What is wrong with the answer to a hostile request; undefined: nothing. */
export function faultOf(attack: HostileCase, { answers, rest, bytes }: Exchange): string | undefined {
  const [answer] = answers;
  if (bytes > ANSWER_BYTES_MAX) return `an answer of ${bytes} bytes`;
  if (answer === undefined) return `no answer (${JSON.stringify(rest.slice(0, 80))})`;
  if (answers.length > 1)
    return `${answers.length} answers: ${answers.map(({ status }) => status).join(", ")}`;
  if (rest !== "") return `bytes behind the answer: ${JSON.stringify(rest.slice(0, 80))}`;
  return faultOfAnswer(answer, attack.head);
}

function faultOfAnswer({ status, headers, body }: Answer, head = false): string | undefined {
  if (status < 400 || status > 499) return `status ${status}: ${body.slice(0, 200)}`;
  if (!/^application\/problem\+json\b/.test(headers.get("content-type")?.[0] ?? ""))
    return `${status} is no problem`;
  if (head) return undefined;
  const problem = Problem.safeParse(JSON.parse(body));
  if (!problem.success) return `${status} with a broken problem: ${body.slice(0, 200)}`;
  if (problem.data.status !== status) return `${status} with a problem of ${problem.data.status}`;
  // A limit that hides the attack from what is to be tested.
  if (status === 429) return "the test itself is limited";
  if (headers.get("x-request-id")?.[0] !== problem.data.instance) return "another request id in the problem";
  for (const [name, { length }] of headers) if (length > 1) return `${name} ${length} times`;
  return undefined;
}

export interface RunOptions {
  seen?: (attack: HostileCase, result: Exchange) => void;
  patienceMs?: number;
  /** Default 8. */
  atOnce?: number;
}

/** Every case on a connection of its own, followed by an honest request on a fresh one. */
export async function runCorpus(
  port: number,
  cases: readonly HostileCase[],
  { seen = () => undefined, patienceMs, atOnce = AT_ONCE }: RunOptions = {},
): Promise<string[]> {
  const faults: string[] = [];
  const queue = cases.values();
  const lane = async () => {
    for (const attack of queue) {
      const result = await exchange(port, attack.bytes, {
        ...attack,
        ...(patienceMs === undefined ? {} : { patienceMs }),
      });
      seen(attack, result);
      const fault = faultOf(attack, result);
      if (fault !== undefined) faults.push(`${attack.kind}, ${attack.name}: ${fault}`);
      const after = await exchange(
        port,
        Buffer.from("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
      );
      if (after.answers.length !== 1 || after.answers[0]?.status !== 200)
        faults.push(
          `${attack.kind}, ${attack.name}: the next request was answered ${after.answers[0]?.status}`,
        );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return faults;
}
