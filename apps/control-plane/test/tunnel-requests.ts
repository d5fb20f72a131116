/** What tests of both ways to open a tunnel share: dialling, raw requests, and what either way refuses. */
import type { Server } from "node:http";
import { connect } from "node:net";
import { text as readText } from "node:stream/consumers";
import { expect } from "@jest/globals";
import type { ProblemCode } from "@wolfpack/api-contract";
import { type DialOptions, dialTunnel, type RevdialError, type Tunnel } from "revdial";
import type { AdmissionOptions } from "../src/tunnels/admission.ts";
import { aWolf } from "./a-wolf.ts";
import { RUNNER_TOKEN } from "./control-plane.ts";

export const TUNNEL_PATH = "/api/v1/revdial";
/** Dialled so far; a test file ends them. */
export const dialled: Tunnel[] = [];

export async function dial(
  base: string,
  runnerId: string,
  credential: string,
  options: DialOptions = {},
): Promise<Tunnel> {
  const url = `${base.replace("http", "ws")}${TUNNEL_PATH}?runnerid=${encodeURIComponent(runnerId)}`;
  const tunnel = await dialTunnel(url, { headers: { authorization: `Bearer ${credential}` }, ...options });
  dialled.push(tunnel);
  return tunnel;
}

/** A replica that is late takes few in at a time, before it looks at them: agents come again. */
export async function whenThereIsRoom(dialling: () => Promise<Tunnel>): Promise<Tunnel> {
  for (;;) {
    try {
      return await dialling();
    } catch (error) {
      const { status, detail = "" } = error as Partial<RevdialError>;
      if (status !== 503 || !detail.includes("Too many agents connect at once.")) throw error;
    }
  }
}

/** Look-ups of wolves wait for `release`; `asked` settles with the last of so many. */
export function holdWolves(
  options: AdmissionOptions,
  lookUps = 1,
): { asked: Promise<void>; release: () => void } {
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  let seen = 0;
  options.wolves.getByName = async (name) => {
    seen += 1;
    if (seen === lookUps) asked.resolve();
    await gate.promise;
    return aWolf({ name });
  };
  return { asked: asked.promise, release: gate.resolve };
}

/** A dial whose caller gives up while its wolf is looked up. `gone` settles with the end of its connection at the server. */
export async function dialAndLeave(
  base: string,
  server: Server,
  admission: AdmissionOptions,
  options: DialOptions = {},
): Promise<{ release: () => void; gone: Promise<void> }> {
  const { asked, release } = holdWolves(admission);
  const gone = Promise.withResolvers<void>();
  server.once("connection", (socket) => socket.once("close", () => gone.resolve()));
  const abort = new AbortController();
  const dialling = dialTunnel(`${base.replace("http", "ws")}${TUNNEL_PATH}?runnerid=wolf-a`, {
    headers: { authorization: "Bearer r" },
    signal: abort.signal,
    ...options,
  });
  await asked;
  abort.abort();
  await expect(dialling).rejects.toMatchObject({ code: "CANCELLED" });
  return { release, gone: gone.promise };
}

/** The problem that refuses a dial. */
export async function refusal(
  base: string,
  runnerId: string,
  credential: string,
  options: DialOptions = {},
): Promise<string> {
  const error = await dial(base, runnerId, credential, options).then(
    () => undefined,
    (cause: RevdialError) => cause,
  );
  if (error?.code !== "DIAL_REFUSED") return `not refused: ${error}`;
  const problem = JSON.parse(error.detail ?? "null");
  expect(problem.status).toBe(error.status);
  return problem.code;
}

/** Polled: a foreign process (PostgreSQL) gives no event. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let left = 500; left > 0; left -= 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it did not come to hold");
}

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  problem: { code: ProblemCode; instance: string; errors?: unknown };
}

/** Writes one request and reads until the server closes. */
export async function raw(
  base: string,
  target: string,
  headers: Record<string, string | undefined>,
  method: string,
): Promise<RawAnswer> {
  const socket = connect(Number(new URL(base).port), "127.0.0.1");
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  socket.write(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`);
  const text = await readText(socket);
  const [head = "", body = ""] = text.split("\r\n\r\n");
  const [start = "", ...fields] = head.split("\r\n");
  return {
    status: Number(start.split(" ")[1]),
    headers: Object.fromEntries(
      fields.map((field) => {
        const [name = "", value = ""] = field.split(": ");
        return [name.toLowerCase(), value];
      }),
    ),
    problem: JSON.parse(body),
  };
}

export const runnerAuth = { authorization: `Bearer ${RUNNER_TOKEN}` };
export const wolfTarget = `${TUNNEL_PATH}?runnerid=wolf-wolf-1`;

export type Refused = readonly [
  what: string,
  code: ProblemCode,
  target: string,
  headers: Record<string, string | undefined>,
];

/** Whatever is to carry the tunnel. */
export const refusedEitherWay: readonly Refused[] = [
  ["no credential", "unauthenticated", wolfTarget, {}],
  ["a credential in the query only", "unauthenticated", `${wolfTarget}&access_token=${RUNNER_TOKEN}`, {}],
  ["an Origin", "origin-refused", wolfTarget, { ...runnerAuth, origin: "https://evil.example" }],
  ["an Origin of null", "origin-refused", wolfTarget, { ...runnerAuth, origin: "null" }],
  ["an empty Origin", "origin-refused", wolfTarget, { ...runnerAuth, origin: "" }],
  ["an unknown wolf", "wolf-not-found", `${TUNNEL_PATH}?runnerid=wolf-unknown`, runnerAuth],
  ["no runnerid", "runner-id-invalid", TUNNEL_PATH, runnerAuth],
  ["an empty runnerid", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=`, runnerAuth],
  ["a runnerid without a name", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=wolf-`, runnerAuth],
  ["a runnerid of no kind", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=hydra-1`, runnerAuth],
  ["a runnerid with a slash", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=wolf-a%2fb`, runnerAuth],
  ["a runnerid with NUL", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=wolf-a%00`, runnerAuth],
  ["a runnerid with a newline", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=wolf-a%0a`, runnerAuth],
  [
    "a runnerid that is too long",
    "runner-id-invalid",
    `${TUNNEL_PATH}?runnerid=wolf-${"a".repeat(64)}`,
    runnerAuth,
  ],
  ["two runnerids", "runner-id-invalid", `${wolfTarget}&runnerid=wolf-2`, runnerAuth],
  ["a session id that is none", "runner-id-invalid", `${TUNNEL_PATH}?runnerid=sandbox-1`, runnerAuth],
  ["another parameter", "invalid-request", `${wolfTarget}&revdial.dialer=1`, runnerAuth],
];
