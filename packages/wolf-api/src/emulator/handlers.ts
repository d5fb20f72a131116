/** Wolf's routes: each a function of the world and the request. Error texts and odd statuses are as recorded. */
import { icons, SESSION_WITHOUT_CLIENT } from "./defaults.ts";
import { type Reader, readBody } from "./reader.ts";
import * as shapes from "./shapes.ts";
import { type WireReply, type WireRequest, wolfJson } from "./wire.ts";
import type { EmulatedLobby, World } from "./world.ts";

/** "no-reply": the connection is closed without a word, which is all Wolf does there. */
export type Reply = WireReply | "no-reply";
export type Handler = (world: World, request: WireRequest) => Reply;

export const CREATE_LOBBY = "POST /api/v1/lobbies/create";

const json = (status: number, value: unknown): WireReply => ({ status, body: wolfJson(value) });
const success = (value: object = {}): WireReply => json(200, { success: true, ...value });
const failure = (error: string, status = 500): WireReply => json(status, { success: false, error });
const NUMERIC = /^\d{1,20}$/;

/** A handler for a body; one that cannot be read is answered with the reader's text. */
function post<T>(reader: Reader<T>, handle: (world: World, body: T) => Reply, unreadable?: Reply): Handler {
  return (world, request) => {
    const read = readBody(request.body, reader);
    return read.ok ? handle(world, read.value) : (unreadable ?? failure(read.error));
  };
}

/** The query's one parameter: Wolf splits it on "=" into exactly two parts. */
function parameter(request: WireRequest, name: string): string | undefined {
  const parts = (request.query ?? "").split("=");
  return parts.length === 2 && parts[0] === name ? parts[1] : undefined;
}

function listedLobby({ id, request, connected }: EmulatedLobby): object {
  return {
    id,
    name: request.name,
    ...(request.icon_png_path === undefined ? {} : { icon_png_path: request.icon_png_path }),
    multi_user: request.multi_user,
    started_by_profile_id: request.profile_id,
    pin_required: request.pin !== undefined,
    stop_when_everyone_leaves: request.stop_when_everyone_leaves,
    runner: request.runner,
    connected_sessions: connected,
  };
}

const samePin = (lobby: EmulatedLobby, pin: number[] | undefined) =>
  lobby.request.pin === undefined || (pin !== undefined && pin.join() === lobby.request.pin.join());

const createLobby = post(shapes.createLobby, (world, body) => {
  const runner = shapes.listedRunner(body.runner);
  // The default create document shows only in apps; a lobby's runner without one has none.
  if (runner.type === "docker" && (body.runner as shapes.DockerRunner).base_create_json === undefined)
    delete runner.base_create_json;
  const { client_settings, ...request } = body;
  return success({
    lobby_id: world.createLobby({ ...request, runner }, shapes.withDefaults(client_settings)).id,
  });
});

const joinLobby = post(shapes.joinLobby, (world, { lobby_id, moonlight_session_id: sessionId, pin }) => {
  const lobby = world.lobbies.get(lobby_id);
  if (lobby === undefined) return failure("Invalid lobby ID");
  if (!samePin(lobby, pin)) return failure("Invalid PIN");
  const known = world.sessions.some((session) => session.id === sessionId);
  const full = !lobby.request.multi_user && lobby.connected.length > 0;
  if (known && !full) {
    lobby.connected.push(sessionId);
    world.emit("SwitchStreamProducerEvents", { session_id: sessionId, interpipe_src_id: lobby.id });
  }
  // Told also when the join then fails.
  world.emit("JoinLobbyEvent", {
    lobby_id,
    moonlight_session_id: sessionId,
    ...(pin === undefined ? {} : { pin }),
  });
  if (!known) return failure("Lobby or session not found");
  return full ? failure("Lobby is full") : success();
});

const leaveLobby = post(shapes.leaveLobby, (world, { lobby_id, moonlight_session_id: sessionId }) => {
  const lobby = world.lobbies.get(lobby_id);
  if (lobby?.connected.includes(sessionId)) world.leave(lobby, sessionId);
  else world.emit("LeaveLobbyEvent", { lobby_id, moonlight_session_id: sessionId });
  return success();
});

const stopLobby = post(shapes.stopLobby, (world, { lobby_id, pin }) => {
  const lobby = world.lobbies.get(lobby_id);
  if (lobby === undefined) return failure("Invalid lobby ID");
  if (!samePin(lobby, pin)) return failure("Invalid PIN");
  world.stopLobby(lobby);
  return success();
});

const addSession = post(shapes.addSession, (world, { client_id, app_id, client_settings, ...stream }) => {
  if (app_id !== undefined && !world.apps.some((app) => app.id === app_id)) return failure("Invalid app_id");
  if (client_id !== undefined && !world.clients.some((client) => client.client_id === client_id))
    return failure("Invalid client_id");
  const id = client_id ?? SESSION_WITHOUT_CLIENT;
  const listed = {
    ...stream,
    app_id: app_id ?? world.newId(),
    client_id: id,
    client_settings: client_settings ?? shapes.withDefaults(),
  };
  world.sessions.push({ id, listed });
  world.emit("StreamSession", listed);
  return success({ session_id: id });
});

/** A request about a Moonlight session that has to exist. */
function onSession<T extends { session_id: string }>(
  reader: Reader<T>,
  handle: (world: World, body: T) => Reply,
): Handler {
  return post(reader, (world, body) =>
    world.sessions.some((session) => session.id === body.session_id)
      ? handle(world, body)
      : failure("Invalid session_id"),
  );
}

const pauseSession = onSession(shapes.sessionId, (world, { session_id }) => {
  world.leaveAll(session_id);
  world.emit("PauseStreamEvent", { session_id });
  return success();
});

const stopSession = onSession(shapes.sessionId, (world, { session_id }) => {
  world.leaveAll(session_id);
  const at = world.sessions.findIndex((session) => session.id === session_id);
  world.sessions.splice(at, 1);
  world.emit("StopStreamEvent", { session_id });
  return success();
});

const addApp = post(shapes.app, (world, app) => {
  // As recorded: the audio server's flag of an added app reads false.
  world.apps.push({ ...app, start_audio_server: false, runner: shapes.listedRunner(app.runner) });
  return success();
});

const clientSettings = post(
  shapes.clientSettings,
  (world, { client_id, app_state_folder, settings }) => {
    const client = world.clients.find((candidate) => candidate.client_id === client_id);
    if (client === undefined) return failure("Client not found", 404);
    if (app_state_folder !== undefined) client.app_state_folder = app_state_folder;
    client.settings = { ...client.settings, ...settings };
    return success();
  },
  failure("Invalid request format", 400),
);

const unpair = post(
  shapes.unpair,
  (world, { client_id }) => {
    if (!NUMERIC.test(client_id)) return failure("stoull");
    if (!world.clients.some((client) => client.client_id === client_id))
      return failure("Client not found", 404);
    world.clients = world.clients.filter((client) => client.client_id !== client_id);
    return success();
  },
  failure("Invalid request format", 400),
);

const pair = post(shapes.pair, (world, { pair_secret }) => {
  if (!world.pairRequests.some((request) => request.pair_secret === pair_secret))
    return failure("Invalid pair secret");
  world.pairRequests = world.pairRequests.filter((request) => request.pair_secret !== pair_secret);
  return success();
});

const inspectImage: Handler = (world, request) => {
  const name = parameter(request, "image_name");
  if (name === undefined)
    return failure("Invalid request format, expects 'image_name' as a query parameter", 400);
  const image = world.images.get(name);
  return image ? json(200, image) : failure("Image not found", 404);
};

const getIcon: Handler = (_world, request) => {
  const path = parameter(request, "icon_path");
  if (path === undefined)
    return failure("Invalid request format, expects 'icon_path' as a query parameter", 400);
  const icon = Object.hasOwn(icons, path) ? icons[path] : undefined;
  return icon
    ? { status: 200, headers: [["Content-Type", "image/png"]], body: icon }
    : failure("Icon not found", 404);
};

const PULL_TOTAL = 400;
const pullImage = (tell: (event: string, data: object) => void): Handler =>
  post(
    shapes.pullImage,
    (world, { image_name }) => {
      tell("DockerPullImageStartEvent", { image_name });
      const lines = [0, 100, 200, 300, 400].map((current) =>
        JSON.stringify({ layer_id: "layer1", current_progress: current, total: PULL_TOTAL }),
      );
      world.pulled(image_name);
      tell("DockerPullImageEndEvent", { image_name, success: true });
      return { status: 200, body: [...lines, '{"success":true}', ""].join("\r\n"), untilClose: true };
    },
    "no-reply",
  );

/** All routes but /events, by "METHOD path". `tell` sends an event whose name has no prefix. */
export function routes(tell: (event: string, data: object) => void, schema: string): Record<string, Handler> {
  const v1: Record<string, Handler> = {
    "GET /openapi-schema": () => ({ status: 200, body: schema }),
    "GET /pair/pending": (world) => success({ requests: world.pairRequests }),
    "POST /pair/client": pair,
    "POST /unpair/client": unpair,
    "GET /clients": (world) => success({ clients: world.clients }),
    "POST /clients/settings": clientSettings,
    "GET /apps": (world) => success({ apps: world.apps }),
    "POST /apps/add": addApp,
    "POST /apps/delete": post(shapes.byId, (world, { id }) => {
      world.apps = world.apps.filter((app) => app.id !== id);
      return success();
    }),
    "GET /profiles": (world) => success({ profiles: world.profiles }),
    "POST /profiles/add": post(shapes.profile, (world, profile) => {
      world.profiles.push(profile);
      return success();
    }),
    "POST /profiles/remove": post(shapes.byId, (world, { id }) => {
      world.profiles = world.profiles.filter((profile) => profile.id !== id);
      return success();
    }),
    "GET /sessions": (world) => success({ sessions: world.sessions.map((session) => session.listed) }),
    "POST /sessions/add": addSession,
    "POST /sessions/start": onSession(shapes.startSession, () => success()),
    "POST /sessions/pause": pauseSession,
    "POST /sessions/stop": stopSession,
    "POST /sessions/input": onSession(shapes.sessionInput, () => success()),
    "POST /runners/start": onSession(shapes.startRunner, () => "no-reply"),
    "GET /lobbies": (world) => success({ lobbies: [...world.lobbies.values()].map(listedLobby) }),
    "POST /lobbies/create": createLobby,
    "POST /lobbies/join": joinLobby,
    "POST /lobbies/leave": leaveLobby,
    "POST /lobbies/stop": stopLobby,
    "GET /utils/get-icon": getIcon,
    "GET /docker/images/inspect": inspectImage,
    "POST /docker/images/pull": pullImage(tell),
  };
  return Object.fromEntries(
    Object.entries(v1).map(([route, handler]) => {
      const [method, path] = route.split(" ");
      return [`${method} /api/v1${path}`, handler];
    }),
  );
}
