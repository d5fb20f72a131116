/** The main job through a bad network, as a careful user does it: what got no answer is asked again, with the same key. */
import { randomUUID } from "node:crypto";
import { type CallReply, WolfpackApiError, type WolfpackClient } from "@wolfpack/api-contract";
import { readPng } from "../png-check.ts";

export type Session = CallReply<"getSession">["body"];

/** One try; past it the network has swallowed it. */
const TRY_MS = 6000;
const AGAIN_MS = 250;
/** Also what a new session may say as long as its wolf is away. */
const again = new Set([
  "network-failed",
  "wolf-unreachable",
  "wolf-timeout",
  "session-not-running",
  "idempotency-key-in-use",
  "rate-limited",
]);

/** Why a session fails whose wolf is gone for a moment, where no other wolf fits. */
const awayAtStart = new Set(["wolf-unreachable", "wolf-timeout"]);

export class Jobs {
  /** Tries beyond the first of each call. */
  retries = 0;
  calls = 0;
  done = 0;
  /** Of every session that was asked for. */
  readonly keys: string[] = [];
  /** Of these, those whose wolf went away while their sandbox was begun. */
  readonly unstarted = new Set<string>();
  private readonly api: WolfpackClient;
  private readonly wolfName: string;
  private readonly giveUpMs: number;

  constructor(api: WolfpackClient, wolfName: string, giveUpMs: number) {
    this.api = api;
    this.wolfName = wolfName;
    this.giveUpMs = giveUpMs;
  }

  /** A session that runs. One that its wolf lost at its start has failed, and says so: then another. */
  async create(): Promise<Session> {
    for (;;) {
      const key = randomUUID();
      this.keys.push(key);
      const session = await this.becomes(await this.begin(key), "running", "failed");
      if (session.status === "running") return session;
      if (!awayAtStart.has(session.failure?.code ?? ""))
        throw new Error(
          `session ${session.id} has failed: ${session.failure?.code} ${session.failure?.reason}`,
        );
      this.unstarted.add(key);
    }
  }

  private async begin(key: string): Promise<string> {
    const constraints = [{ attribute: "wolf:name", op: "in" as const, values: [this.wolfName] }];
    const body = { name: key, wait_seconds: 0, constraints };
    try {
      const reply = await this.insist("createSession", (api, signal) =>
        api.createSession({ body, headers: { "idempotency-key": key }, signal }),
      );
      return reply.body.id;
    } catch (error) {
      const { session_id } = (error as { problem?: { session_id?: string } }).problem ?? {};
      if ((error as { code?: string }).code === "session-start-failed" && session_id !== undefined)
        return session_id;
      throw error;
    }
  }

  async becomes(id: string, ...statuses: Session["status"][]): Promise<Session> {
    const until = performance.now() + this.giveUpMs;
    for (;;) {
      const { body } = await this.insist("getSession", (api, signal) =>
        api.getSession({ params: { id }, signal }),
      );
      if (statuses.includes(body.status)) return body;
      if (body.status === "failed" || performance.now() > until)
        throw new Error(
          `session ${id} is ${body.status} (${body.failure?.reason ?? "no reason"}), not ${statuses.join(" or ")}`,
        );
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** Its picture shows it, and its clipboard gives back what was put there. */
  async use({ id }: Session): Promise<void> {
    const params = { id };
    const { body } = await this.insist("getScreenshot", (api, signal) =>
      api.getScreenshot({ params, signal }),
    );
    const shown = readPng(body).texts["wolfpack-session"];
    if (shown !== id) throw new Error(`the picture of ${id} shows ${shown}`);
    const text = `${this.done} – ${id}`;
    await this.insist("setClipboard", (api, signal) => api.setClipboard({ params, body: { text }, signal }));
    const { body: clipboard } = await this.insist("getClipboard", (api, signal) =>
      api.getClipboard({ params, signal }),
    );
    if (clipboard.text !== text) throw new Error(`the clipboard has "${clipboard.text}", not "${text}"`);
  }

  async stop({ id }: Session): Promise<void> {
    await this.insist("stopSession", (api, signal) => api.stopSession({ params: { id }, signal }));
    await this.becomes(id, "stopped");
  }

  /** The whole of it, once. */
  async once(): Promise<void> {
    const session = await this.create();
    await this.use(session);
    await this.stop(session);
    this.done += 1;
  }

  private async insist<Reply>(
    what: string,
    call: (api: WolfpackClient, signal: AbortSignal) => Promise<Reply>,
  ): Promise<Reply> {
    const until = performance.now() + this.giveUpMs;
    this.calls += 1;
    for (;;) {
      try {
        return await call(this.api, AbortSignal.timeout(TRY_MS));
      } catch (error) {
        const code = error instanceof WolfpackApiError ? error.code : undefined;
        if (code === undefined || !again.has(code)) throw error;
        if (performance.now() > until)
          throw new Error(`${what} got no answer in ${this.giveUpMs / 1000} s: ${code}`, { cause: error });
      }
      this.retries += 1;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
