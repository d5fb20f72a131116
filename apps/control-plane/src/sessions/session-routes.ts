/** HTTP in, one service call, HTTP out: sessions, their screens and clipboards, also under the original's external-agents paths. */
import type { Action, ClipboardContent, Session as SessionResponse } from "@wolfpack/api-contract";
import type { Call, HandledId, Handlers } from "../http/call.ts";
import { page } from "../http/page.ts";
import { userOf } from "../identity/identity-routes.ts";
import type { Screen } from "./screen.ts";
import type { SessionService } from "./session-service.ts";
import type { Session } from "./session-store.ts";

export interface SessionHandlersOptions {
  sessions: SessionService;
  screen: Screen;
}

type Handled = "createSession" | "listSessions" | "getSession" | "stopSession";
type ScreenHandled =
  | "getScreenshot"
  | "getClipboard"
  | "setClipboard"
  | "getExternalAgentScreenshot"
  | "getExternalAgentClipboard"
  | "setExternalAgentClipboard";

export function sessionHandlers(options: SessionHandlersOptions): Pick<Handlers, Handled | ScreenHandled> {
  const { sessions } = options;
  const toResponse = (session: Session) => toSessionResponse(session, sessions.isReachable(session));
  return {
    ...screenHandlers(options),

    async createSession(call) {
      const session = await sessions.create(userOf(call), call.body);
      const headers = { location: `/api/v1/sessions/${session.id}` };
      return { status: 201, body: toResponse(session), headers, object: session.id };
    },

    async listSessions(call) {
      const { query, url } = call;
      return page(url, (await sessions.list(userOf(call), query)).map(toResponse), query.limit);
    },

    async getSession(call) {
      return {
        status: 200,
        body: toResponse(await sessions.get(userOf(call), "session.read", call.params.id)),
      };
    },

    async stopSession(call) {
      const session = await sessions.stop(userOf(call), call.params.id, call.query.force);
      if (session.endedAt !== null) return { status: 204, body: undefined };
      return { status: 202, body: toResponse(session) };
    },
  };
}

function screenHandlers({ sessions, screen }: SessionHandlersOptions): Pick<Handlers, ScreenHandled> {
  type Asker = Pick<Call<HandledId>, "principal">;
  const seen = (call: Asker, action: Action, id: string) => sessions.get(userOf(call), action, id);

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

/** The one translation from row to API: a new column is not a new field. */
export function toSessionResponse(session: Session, reachable: boolean): SessionResponse {
  return {
    id: session.id,
    owner_id: session.ownerId,
    name: session.name,
    status: session.status,
    reachable,
    wolf_instance_id: session.wolfId,
    lobby_id: session.lobbyId,
    spec: session.spec,
    placement: session.placement,
    failure: session.failure,
    created_at: session.createdAt.toISOString(),
    updated_at: session.updatedAt.toISOString(),
    started_at: session.startedAt?.toISOString() ?? null,
    ended_at: session.endedAt?.toISOString() ?? null,
  };
}
