/** HTTP in, one service call, HTTP out: sessions, their screens and clipboards, also under the original's external-agents paths. */
import {
  ClipboardContent,
  CreateSessionRequest,
  ForceQuery,
  ListSessionsQuery,
  SessionId,
  type Session as SessionResponse,
} from "@wolfpack/api-contract";
import { type RequestHandler, Router } from "express";
import { requireUser, userOf } from "../http/authenticate.ts";
import { sendPage } from "../http/page.ts";
import { parseBody, parseId, parseQuery } from "../http/validate.ts";
import type { Identity } from "../identity/principal.ts";
import type { Screen } from "./screen.ts";
import { type SessionService, sessionNotFound } from "./session-service.ts";
import type { Session } from "./session-store.ts";

export interface SessionRoutesOptions {
  sessions: SessionService;
  screen: Screen;
  identity: Identity;
}

export function sessionRoutes({ sessions, screen, identity }: SessionRoutesOptions): Router {
  const router = Router();
  const user = requireUser(identity);
  const idOf = (value: unknown) => parseId(SessionId, value, sessionNotFound);
  const toResponse = (session: Session) => toSessionResponse(session, sessions.isReachable(session));

  router.post("/sessions", user, async (req, res) => {
    const session = await sessions.create(userOf(res), parseBody(CreateSessionRequest, req));
    res.status(201).location(`/api/v1/sessions/${session.id}`).json(toResponse(session));
  });

  router.get("/sessions", user, async (req, res) => {
    const query = parseQuery(ListSessionsQuery, req);
    sendPage(req, res, (await sessions.list(userOf(res), query)).map(toResponse), query.limit);
  });

  router.get("/sessions/:id", user, async (req, res) => {
    res.json(toResponse(await sessions.get(userOf(res), idOf(req.params.id))));
  });

  router.delete("/sessions/:id", user, async (req, res) => {
    const { force } = parseQuery(ForceQuery, req);
    const session = await sessions.stop(userOf(res), idOf(req.params.id), force);
    if (session.endedAt !== null) res.status(204).end();
    else res.status(202).json(toResponse(session));
  });

  const screenshot: RequestHandler<{ id: string }> = async (req, res) => {
    const { type, bytes } = await screen.screenshot(await sessions.get(userOf(res), idOf(req.params.id)));
    res
      .set({ "content-type": type, "cache-control": "no-store", "x-content-type-options": "nosniff" })
      .send(Buffer.from(bytes));
  };
  const readClipboard: RequestHandler<{ id: string }> = async (req, res) => {
    res
      .set("cache-control", "no-store")
      .json(await screen.readClipboard(await sessions.get(userOf(res), idOf(req.params.id))));
  };
  const writeClipboard: RequestHandler<{ id: string }> = async (req, res) => {
    const content = parseBody(ClipboardContent, req);
    await screen.writeClipboard(await sessions.get(userOf(res), idOf(req.params.id)), content);
    res.status(204).end();
  };

  for (const prefix of ["/sessions", "/external-agents"]) {
    router.get(`${prefix}/:id/screenshot`, user, screenshot);
    router.get(`${prefix}/:id/clipboard`, user, readClipboard);
    router.post(`${prefix}/:id/clipboard`, user, writeClipboard);
  }

  return router;
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
