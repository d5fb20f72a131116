/** HTTP in, one service call, HTTP out: sessions, their screens and clipboards, also under the original's external-agents paths. */
import { createHash } from "node:crypto";
import type {
  Action,
  ClipboardContent,
  PlacementPreview,
  PlacementRefusal,
  Session as SessionResponse,
} from "@wolfpack/api-contract";
import type { Call, HandledId, Handlers } from "../http/call.ts";
import { page, pageBy } from "../http/page.ts";
import type { ApiError } from "../http/problem.ts";
import { userOf } from "../identity/identity-routes.ts";
import type { UserNames } from "../identity/user-names.ts";
import type { Preview } from "../placement/desk.ts";
import type { Screen } from "./screen.ts";
import type { SessionService } from "./session-service.ts";
import type { Session } from "./session-store.ts";

export interface SessionHandlersOptions {
  sessions: SessionService;
  screen: Screen;
  /** Rejects when there is no such wolf. */
  requireWolf: (wolfId: string) => Promise<unknown>;
  /** Whoever may see a session may know whose it is. */
  userNames: UserNames;
}

type Handled =
  | "createSession"
  | "listSessions"
  | "getSession"
  | "stopSession"
  | "extendSession"
  | "previewPlacement"
  | "listQueue"
  | "listWolfLobbies";
type ScreenHandled =
  | "getScreenshot"
  | "getClipboard"
  | "setClipboard"
  | "getExternalAgentScreenshot"
  | "getExternalAgentClipboard"
  | "setExternalAgentClipboard";

export function sessionHandlers(options: SessionHandlersOptions): Pick<Handlers, Handled | ScreenHandled> {
  const { sessions, requireWolf, userNames } = options;
  const toItems = async (some: readonly Session[]) => {
    const nameOf = await userNames.of(some.map(({ ownerId }) => ownerId));
    return some.map((session) => toSessionResponse(session, factsOf(sessions, session, nameOf)));
  };
  const toResponse = async (session: Session) => {
    const nameOf = await userNames.of([session.ownerId]);
    const queuePosition = (await sessions.queuePosition(session)) ?? null;
    return toSessionResponse(session, { ...factsOf(sessions, session, nameOf), queuePosition });
  };
  return {
    ...screenHandlers(options),

    async createSession(call) {
      const session = await sessions.create(userOf(call), call.body, createKeyOf(call));
      const headers = { location: `/api/v1/sessions/${session.id}` };
      return { status: 201, body: await toResponse(session), headers, object: session.id };
    },

    async listSessions(call) {
      const { query, url } = call;
      return page(url, await toItems(await sessions.list(userOf(call), query)), query.limit);
    },

    async getSession(call) {
      return {
        status: 200,
        body: await toResponse(await sessions.get(userOf(call), "session.read", call.params.id)),
      };
    },

    async stopSession(call) {
      const session = await sessions.stop(userOf(call), call.params.id, call.query.force);
      if (session.endedAt !== null) return { status: 204, body: undefined };
      return { status: 202, body: await toResponse(session) };
    },

    async extendSession(call) {
      const session = await sessions.extend(userOf(call), call.params.id, call.body.ttl_seconds);
      return { status: 200, body: await toResponse(session) };
    },

    async previewPlacement(call) {
      return { status: 200, body: toPreviewResponse(await sessions.preview(userOf(call), call.body)) };
    },

    async listWolfLobbies({ params }) {
      await requireWolf(params.id);
      return { status: 200, body: await sessions.lobbiesOf(params.id) };
    },

    async listQueue(call) {
      const { query, url } = call;
      const entries = await sessions.queue(userOf(call), query);
      const nameOf = await userNames.of(entries.map(({ owner_id }) => owner_id));
      const named = entries.map((entry) => ({ ...entry, owner_name: nameOf(entry.owner_id) }));
      return pageBy(url, named, query.limit, ({ session_id }) => session_id);
    },
  };
}

function screenHandlers({ sessions, screen }: SessionHandlersOptions): Pick<Handlers, ScreenHandled> {
  type Asker = Pick<Call<HandledId>, "principal">;
  async function seen(call: Asker, action: Action, id: string): Promise<Session> {
    const session = await sessions.get(userOf(call), action, id);
    void sessions.used(session);
    return session;
  }

  async function screenshot(call: Asker, id: string) {
    return { status: 200 as const, body: await screen.screenshot(await seen(call, "session.look", id)) };
  }
  async function readClipboard(call: Asker, id: string) {
    return { status: 200 as const, body: await screen.readClipboard(await seen(call, "session.look", id)) };
  }
  async function writeClipboard(call: Asker, id: string, content: ClipboardContent) {
    await screen.writeClipboard(await seen(call, "session.touch", id), content);
    return { status: 204 as const, body: undefined };
  }

  return {
    getScreenshot: (call) => screenshot(call, call.params.id),
    getClipboard: (call) => readClipboard(call, call.params.id),
    setClipboard: (call) => writeClipboard(call, call.params.id, call.body),
    getExternalAgentScreenshot: (call) => screenshot(call, call.params.session_id),
    getExternalAgentClipboard: (call) => readClipboard(call, call.params.session_id),
    setExternalAgentClipboard: (call) => writeClipboard(call, call.params.session_id, call.body),
  };
}

function toPreviewResponse({ decision, refusal, queuePosition }: Preview): PlacementPreview {
  const { outcome, explanation } = decision;
  const common = { wolf_instance_id: null, queue_position: queuePosition, refusal: null, explanation };
  if (outcome === "impossible") return { outcome, ...common };
  if (refusal !== undefined) return { ...common, outcome: "refused", refusal: toRefusal(refusal) };
  if (outcome === "not-now") return { outcome: "queued", ...common };
  return { outcome, ...common, wolf_instance_id: decision.ranked[0].id };
}

function toRefusal({ code, message, extras }: ApiError): PlacementRefusal {
  const figure = (value: unknown) => (typeof value === "number" ? value : null);
  return {
    code: code as PlacementRefusal["code"],
    text: message,
    current: figure(extras.current),
    limit: figure(extras.limit),
  };
}

/** Of one request: the same key with another body, once the first is forgotten, is another one. */
function createKeyOf({ idempotencyKey, body }: Call<"createSession">): string | null {
  if (idempotencyKey === undefined) return null;
  return createHash("sha256")
    .update(`${idempotencyKey} ${JSON.stringify(body)}`)
    .digest("base64url");
}

/** What a row does not say of itself. */
interface SessionFacts {
  ownerName: string | null;
  reachable: boolean;
  statusDeadline: Date | undefined;
  idleAt: Date | undefined;
  /** Null: not asked for. */
  queuePosition: number | null;
}

const factsOf = (
  sessions: SessionService,
  session: Session,
  nameOf: (userId: string) => string | null,
): SessionFacts => ({
  ownerName: nameOf(session.ownerId),
  reachable: sessions.isReachable(session),
  statusDeadline: sessions.statusDeadline(session),
  idleAt: sessions.idleAt(session),
  queuePosition: null,
});

const iso = (at: Date | null | undefined): string | null => at?.toISOString() ?? null;

/** The one translation from row to API: a new column is not a new field. */
export function toSessionResponse(session: Session, facts: SessionFacts): SessionResponse {
  const { queuedAt, queueDeadline } = session;
  const waits = session.status === "queued" && queuedAt !== null && queueDeadline !== null;
  return {
    id: session.id,
    owner_id: session.ownerId,
    owner_name: facts.ownerName,
    name: session.name,
    status: session.status,
    reachable: facts.reachable,
    wolf_instance_id: session.wolfId,
    lobby_id: session.lobbyId,
    spec: session.spec,
    placement: session.placement,
    failure: session.failure,
    stop_reason: session.stopReason,
    queue: waits
      ? {
          position: facts.queuePosition,
          queued_at: queuedAt.toISOString(),
          deadline: queueDeadline.toISOString(),
        }
      : null,
    attempts: session.attempts,
    status_deadline: iso(facts.statusDeadline),
    expires_at: iso(session.expiresAt),
    idle_at: iso(facts.idleAt),
    pin_required: session.pin !== null,
    created_at: session.createdAt.toISOString(),
    updated_at: session.updatedAt.toISOString(),
    started_at: iso(session.startedAt),
    ended_at: iso(session.endedAt),
  };
}
