/**
 * An agent as its control plane knows it, thousands in one process: a key of its own that proves itself for each tunnel, the notices,
 * the back-off, a Wolf that is a map of lobbies.
 */
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import { type IncomingMessage, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import {
  AGENT_PROOF_SCHEME,
  AgentChallenge,
  agentNoticeTypes,
  Enrollment,
  type ProofParts,
  proofText,
} from "@wolfpack/api-contract";
import { type CreateLobbyRequest, wolfEventPrefix } from "@wolfpack/wolf-api";
import { LASTED_MS, nextTry, WebSocketPatience } from "@wolfpack/wolf-revdial-client/parts";
import { dialTunnel, type IncomingRequest, type OutgoingResponse, RevdialError, type Tunnel } from "revdial";
import { capabilities, facts, heartbeat, images, inventory } from "./light-agent-says.ts";

/** What an agent has by default. */
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const ASK_TIMEOUT_MS = 15_000;
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** Where an agent dials: more than one address are tried in turn, as names with several addresses are. */
export interface ControlPlaneAddress {
  port: number;
  /** A proxy's part: whose connection it is, so that limits count each agent for itself. */
  from: string;
}

/** What one process's agents met. */
export interface AgentCounts {
  /** Tunnels that came up. */
  connects: number;
  /** Dials and questions that were refused, by status; 0: no answer. */
  refusals: Record<string, number>;
  /** Tunnels that went on over plain HTTP. */
  fallbacks: number;
  /** Why. */
  fallbackCauses: Record<string, number>;
  notices: number;
  noticesDropped: number;
  lobbiesCreated: number;
}

export const noCounts = (): AgentCounts => ({
  connects: 0,
  refusals: {},
  fallbacks: 0,
  fallbackCauses: {},
  notices: 0,
  noticesDropped: 0,
  lobbiesCreated: 0,
});

interface Lobby {
  id: string;
  name: string;
  runner: CreateLobbyRequest["runner"];
}

interface Answer {
  status: number;
  json: unknown;
  retryAfterMs?: number | undefined;
}

/** What was answered with another status than it should; 0: with none. */
class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly retryAfterMs: number | undefined;

  constructor({ status, json, retryAfterMs }: Answer, what: string) {
    super(`${what}: ${status} ${JSON.stringify(json)}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export class LightAgent {
  readonly name: string;
  wolfId = "";
  /** Survive every tunnel, and the control plane. */
  readonly lobbies = new Map<string, Lobby>();
  tunnel: Tunnel | undefined;
  private readonly at: ControlPlaneAddress;
  private readonly counts: AgentCounts;
  private readonly key: KeyObject;
  private readonly publicKey: string;
  private keyId = "";
  private readonly patience = new WebSocketPatience();
  private stopping: AbortController | undefined;
  private running: Promise<void> = Promise.resolve();
  private seq = 0;
  private beats = 0;

  constructor(name: string, at: ControlPlaneAddress, counts: AgentCounts) {
    const pair = generateKeyPairSync("ed25519");
    this.name = name;
    this.at = at;
    this.counts = counts;
    this.key = pair.privateKey;
    this.publicKey = pair.publicKey.export({ format: "jwk" }).x ?? "";
  }

  private get host(): string {
    return `127.0.0.1:${this.at.port}`;
  }

  /** Who is told to come back does so. */
  async enrol(token: string): Promise<void> {
    for (;;) {
      try {
        return await this.enrolNow(token);
      } catch (error) {
        if (!(error instanceof Refused) || error.retryAfterMs === undefined) throw error;
        await pause(error.retryAfterMs + Math.random() * BACKOFF_BASE_MS);
      }
    }
  }

  private async enrolNow(token: string): Promise<void> {
    const claim = await this.claim("enroll", this.name);
    const body = {
      ...inventory,
      name: this.name,
      address: this.at.from,
      public_key: this.publicKey,
      ...claim,
    };
    const answer = await this.ask("/api/v1/agents/enroll", { authorization: `Bearer ${token}` }, body);
    if (answer.status !== 201) throw new Refused(answer, "enrolment");
    const { key_id, wolf_id } = Enrollment.parse(answer.json);
    this.keyId = key_id;
    this.wolfId = wolf_id;
  }

  /** Stays connected until `stop`. */
  start(): void {
    this.stopping = new AbortController();
    this.running = this.stayConnected(this.stopping.signal);
  }

  async stop(): Promise<void> {
    this.stopping?.abort();
    this.tunnel?.destroy();
    await this.running;
  }

  private async stayConnected(signal: AbortSignal): Promise<void> {
    let everReady = false;
    let goneAt: number | undefined;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      let retryAfterMs: number | undefined;
      try {
        const tunnel = await this.dial(signal);
        this.patience.came(tunnel);
        everReady = true;
        const upAt = performance.now();
        ({ retryAfterMs } = await tunnel.closed);
        if (performance.now() - upAt >= LASTED_MS) {
          attempt = 0;
          goneAt = performance.now();
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Refused || error instanceof RevdialError)) throw error;
        this.patience.failed(error);
        const status =
          error instanceof Refused || error.status !== undefined ? String(error.status) : error.code;
        this.counts.refusals[status] = (this.counts.refusals[status] ?? 0) + 1;
        retryAfterMs = error.retryAfterMs;
      }
      this.tunnel = undefined;
      const backoff = { baseMs: BACKOFF_BASE_MS, capMs: BACKOFF_CAP_MS, random: Math.random };
      const awayMs = goneAt === undefined ? undefined : performance.now() - goneAt;
      const waitMs = nextTry({ kind: "lost", retryAfterMs }, { attempt, everReady, awayMs }, backoff);
      if (waitMs === "give-up") throw new Error(`${this.name} gave up`);
      await pause(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async dial(signal: AbortSignal): Promise<Tunnel> {
    const tunnel = await dialTunnel(`ws://${this.host}/api/v1/revdial?runnerid=wolf-${this.name}`, {
      agent: "wolf-revdial-client/bench",
      incarnation: 1,
      transport: "auto",
      ...this.patience.dialOptions,
      headers: async () => {
        const { host, ...proof } = await this.claim("connect", this.wolfId);
        const json = JSON.stringify({ key_id: this.keyId, host, ...proof });
        return {
          authorization: `${AGENT_PROOF_SCHEME} ${Buffer.from(json).toString("base64url")}`,
          "x-forwarded-for": this.at.from,
        };
      },
      handler: (asked) => this.answer(asked),
      onFallback: ({ code, status }) => {
        this.counts.fallbacks += 1;
        const why = `${code}${status === undefined ? "" : ` ${status}`}`;
        this.counts.fallbackCauses[why] = (this.counts.fallbackCauses[why] ?? 0) + 1;
      },
      signal,
    });
    this.tunnel = tunnel;
    this.counts.connects += 1;
    this.announce();
    return tunnel;
  }

  /** What an agent says first: all that it knows. */
  private announce(): void {
    this.notify(agentNoticeTypes.inventory, { ...inventory, host: facts });
    this.notify(agentNoticeTypes.capabilities, capabilities);
    this.notify(agentNoticeTypes.images, { images });
    this.beat();
  }

  /** With figures that are others each time. */
  beat(): void {
    this.beats += 1;
    this.notify(agentNoticeTypes.heartbeat, heartbeat(this.beats));
  }

  private notify(type: string, payload: unknown): void {
    this.counts.notices += 1;
    const sent = this.tunnel?.notify(type, Buffer.from(JSON.stringify(payload))) ?? false;
    if (!sent) this.counts.noticesDropped += 1;
  }

  /** As agents of before do; the new wolf's id. */
  async registerByHttp(name: string, token: string): Promise<string> {
    const body = { ...inventory, name };
    const answer = await this.ask(
      "/api/v1/wolf-instances/register",
      { authorization: `Bearer ${token}` },
      body,
    );
    if (answer.status !== 200) throw new Refused(answer, "registration");
    return (answer.json as { id: string }).id;
  }

  async beatByHttp(wolfId: string, token: string): Promise<number> {
    const path = `/api/v1/wolf-instances/${wolfId}/heartbeat`;
    const { status } = await this.ask(path, { authorization: `Bearer ${token}` }, {});
    return status;
  }

  private async claim(purpose: ProofParts["purpose"], wolf: string) {
    const answer = await this.ask("/api/v1/agents/challenges", {});
    if (answer.status !== 201) throw new Refused(answer, "challenge");
    const { nonce } = AgentChallenge.parse(answer.json);
    const { host, publicKey, key } = this;
    const time = new Date().toISOString();
    const text = proofText({ purpose, host, wolf, publicKey, nonce, time });
    return { host, nonce, time, signature: sign(null, Buffer.from(text), key).toString("base64url") };
  }

  /** Over a connection of its own, as agents do. */
  private ask(path: string, headers: Record<string, string>, body?: object): Promise<Answer> {
    const text = body === undefined ? "" : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const failed = () => reject(new Refused({ status: 0, json: null }, path));
      const asked = request({
        host: "127.0.0.1",
        port: this.at.port,
        path,
        method: "POST",
        agent: false,
        signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
        headers: {
          ...headers,
          ...(body !== undefined && { "content-type": "application/json" }),
          "content-length": Buffer.byteLength(text),
          "x-forwarded-for": this.at.from,
        },
      });
      asked.on("response", (response) => void answerOf(response).then(resolve, failed));
      asked.on("error", failed);
      asked.end(text);
    });
  }

  /** Wolf, and the screens of its sandboxes. */
  private async answer({ service, method, path, body, hasBody }: IncomingRequest): Promise<OutgoingResponse> {
    if (service === "screen") return { status: 200, headers: [["content-type", "image/png"]], body: PNG };
    const text = hasBody ? await textOf(body) : "{}";
    if (method === "GET" && path === "/api/v1/lobbies")
      return replied({ success: true, lobbies: [...this.lobbies.values()] });
    if (method === "POST" && path === "/api/v1/lobbies/create") {
      const { name, runner } = JSON.parse(text) as CreateLobbyRequest;
      const id = randomUUID();
      this.lobbies.set(id, { id, name, runner });
      this.counts.lobbiesCreated += 1;
      setImmediate(() => this.tellStart(id));
      return replied({ success: true, lobby_id: id });
    }
    if (method === "POST" && path === "/api/v1/lobbies/stop") {
      const { lobby_id } = JSON.parse(text) as { lobby_id: string };
      if (this.lobbies.delete(lobby_id)) return replied({ success: true });
      return replied({ success: false, error: "Invalid lobby ID" });
    }
    return { status: 404 };
  }

  private tellStart(lobbyId: string): void {
    this.seq += 1;
    const event = `${wolfEventPrefix}DockerContainerCreated`;
    this.notify(agentNoticeTypes.wolfEvent, { seq: this.seq, event, data: { session_id: lobbyId } });
  }
}

const replied = (json: object): OutgoingResponse => ({
  status: 200,
  headers: [["content-type", "application/json"]],
  body: Buffer.from(JSON.stringify(json)),
});

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function answerOf(response: IncomingMessage): Promise<Answer> {
  const text = await textOf(response);
  const seconds = Number(response.headers["retry-after"] ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  const json: unknown = text.startsWith("{") ? JSON.parse(text) : text;
  return { status: response.statusCode ?? 0, json, retryAfterMs };
}
