/** A hostile agent behind a real tunnel: nothing of what it answers speaks to a user, and nothing is asked on its behalf. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Session } from "@wolfpack/api-contract";
import { type Tunnel, tunnelFetch } from "revdial";
import { tunnelPair } from "revdial/testing";
import { startControlPlane, type TestControlPlane } from "../control-plane.ts";
import { startHost, type TestHost } from "../host.ts";
import { CANARY, type EvilAnswer, evilAnswers, type Heard, honestAnswer, leakOf } from "./agent-answers.ts";

/** A screenshot's largest, and what a tunnel holds on its way. */
const BODY_BYTES_MAX = 22 * 1024 * 1024;
const REASON_BYTES_MAX = 8192;

let plane: TestControlPlane;
let host: TestHost;
let other: TestHost;
let session: Session;
let trap: Server;
let trapped: string[];
let trapUrl: string;

beforeAll(async () => {
  plane = await startControlPlane({ sessionStartTimeoutMs: 2000, lobbySettleMs: 300 });
  host = await startHost(plane, { name: "evil", maxSandboxes: 1000 });
  const created = await call("POST", "sessions", {});
  session = JSON.parse(created.body.toString()) as Session;
  expect(session.status).toBe("running");
  other = await startHost(plane, { name: "other", gpuType: "amd" });
  trapped = [];
  trap = createServer((request, response) => {
    trapped.push(`${request.method} ${request.url}`);
    response.end(CANARY);
  });
  trap.listen(0, "127.0.0.1");
  await once(trap, "listening");
  trapUrl = `http://127.0.0.1:${(trap.address() as AddressInfo).port}/trap`;
});

afterAll(async () => {
  trap.closeAllConnections();
  trap.close();
  await Promise.all([host.stop(), other.stop()]);
  await plane.stop();
});

async function call(method: string, path: string, body?: object): Promise<Heard> {
  const response = await fetch(`${plane.url}/api/v1/${path}`, {
    method,
    redirect: "manual",
    headers: {
      authorization: `Bearer ${plane.adminKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    headers: [...response.headers],
    body: Buffer.from(await response.arrayBuffer()),
  };
}

const asks = [
  ["screenshot", "GET", undefined],
  ["clipboard", "GET", undefined],
  ["clipboard", "POST", { text: "x" }],
] as const;

/** As a gateway is written that trusts its agents: what they say is passed on, and where they point is gone. */
async function naiveGateway(tunnel: Tunnel, what: string, method: string): Promise<Heard> {
  const reply = await tunnelFetch(tunnel, "screen")(`/ses/${what}`, { method });
  const location = reply.headers.get("location");
  if (reply.status >= 300 && reply.status < 400 && location?.startsWith(trapUrl)) {
    const followed = await fetch(location);
    return { status: followed.status, headers: [], body: Buffer.from(await followed.arrayBuffer()) };
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (reply.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > 2 * BODY_BYTES_MAX) break;
  }
  const headers: [string, string][] = [...reply.headers].filter(([name]) => name !== "content-encoding");
  // What our own answers have, so that it is not for the lack of it that it is found out.
  headers.unshift(["x-content-type-options", "nosniff"]);
  return { status: reply.status, headers, body: Buffer.concat(chunks) };
}

async function fooledBy(answer: EvilAnswer): Promise<boolean> {
  const { left, right } = tunnelPair();
  left.serve(answer.answer);
  try {
    const heard = await naiveGateway(right, "screenshot", "GET");
    return leakOf("screenshot", heard) !== undefined;
  } catch {
    // Its own user gets a 500 with the stack.
    return true;
  } finally {
    left.destroy();
    right.destroy();
  }
}

describe("answers of a hostile agent to looks at a screen", () => {
  it("get through a gateway that passes on what it hears, redirects included", async () => {
    expect(await fooledBy(honestAnswer)).toBe(false);
    const missed: string[] = [];
    for (const answer of evilAnswers(trapUrl, { bytes: 0 }))
      if (!(await fooledBy(answer))) missed.push(answer.name);
    expect(missed).toEqual([]);
    expect(trapped.length).toBeGreaterThanOrEqual(5);
    trapped = [];
  }, 60_000);

  it("reach no user: each becomes a problem or a clean image, and no redirect is followed", async () => {
    const given = { bytes: 0 };
    const answers = evilAnswers(trapUrl, given);
    expect(answers.length).toBeGreaterThanOrEqual(100);
    const before = other.wolf.requests.length;
    const leaks: string[] = [];
    for (const { name, answer } of answers) {
      host.screen = answer;
      for (const [what, method, body] of asks) {
        given.bytes = 0;
        const leak = leakOf(what, await call(method, `sessions/${session.id}/${what}`, body));
        if (leak !== undefined) leaks.push(`${method} ${what}, ${name}: ${leak}`);
        if (given.bytes > BODY_BYTES_MAX)
          leaks.push(`${method} ${what}, ${name}: ${given.bytes} bytes were taken`);
      }
    }
    host.screen = undefined;
    expect(leaks).toEqual([]);
    expect(trapped).toEqual([]);
    expect(other.wolf.requests.length).toBe(before);
    // And the honest one is served again, through the same tunnel.
    expect((await call("GET", `sessions/${session.id}/screenshot`)).status).toBe(200);
  }, 120_000);

  it("hear nothing of the user's credential", async () => {
    let heard = "";
    host.screen = (request) => {
      heard += JSON.stringify([request.path, request.headers]);
      return { status: 200 };
    };
    for (const [what, method, body] of asks) await call(method, `sessions/${session.id}/${what}`, body);
    host.screen = undefined;
    expect(heard).toContain(session.id);
    expect(heard).not.toContain(plane.adminKey);
    expect(heard.toLowerCase()).not.toMatch(/authorization|cookie|forwarded/);
  });
});

describe("answers of a hostile Wolf to a new session", () => {
  it("become a failed session in a few plain words, whatever they are", async () => {
    const given = { bytes: 0 };
    const bad: string[] = [];
    // A creation takes a while, and each kind of answer comes several times: every third of them.
    const answers = evilAnswers(trapUrl, given).filter((_answer, index) => index % 3 === 0);
    for (const { name, answer } of answers) {
      given.bytes = 0;
      host.lobbies = answer;
      const { status, headers, body } = await call("POST", "sessions", { gpu_type: "nvidia" });
      const text = body.toString();
      const foreign = headers.find(([, value]) => value.includes(CANARY));
      if (![502, 503, 504].includes(status)) bad.push(`${name}: status ${status}: ${text.slice(0, 200)}`);
      if (foreign) bad.push(`${name}: the field ${foreign.join(": ")}`);
      if (body.length > REASON_BYTES_MAX || /\p{Cc}/u.test(text)) bad.push(`${name}: ${text.slice(0, 200)}`);
      if (given.bytes > BODY_BYTES_MAX) bad.push(`${name}: ${given.bytes} bytes were taken`);
    }
    host.lobbies = undefined;
    expect(bad).toEqual([]);
    expect(trapped).toEqual([]);
  }, 120_000);
});
