/** How a lobby says whose it is: Wolf keeps only its name and its runner's environment, so the session's id goes into both. */
import { SessionId } from "@wolfpack/api-contract";
import type { CreateLobbyRequest, Lobby } from "@wolfpack/wolf-api";
import type { Session } from "./session-store.ts";

export const SESSION_VARIABLE = "WOLFPACK_SESSION_ID";

/** The session a lobby was made for; undefined for lobbies that are not ours. */
export function sessionOf(lobby: Lobby): string | undefined {
  const entry = lobby.runner.env?.find((variable) => variable.startsWith(`${SESSION_VARIABLE}=`));
  const id = entry?.slice(SESSION_VARIABLE.length + 1) ?? lobby.name;
  return SessionId.safeParse(id).success ? id : undefined;
}

/** Where the sandbox keeps its home and its sockets, below Wolf's state folder. */
export const stateFolderOf = (sessionId: string): string => `wolfpack/${sessionId}`;

/** Wolf's word for rendering without a GPU. */
export const SOFTWARE_NODE = "software";

/** As Wolf takes it: the digits one by one. */
export const pinOf = (pin: string): number[] => [...pin].map(Number);

/** `renderNode`: the GPU's device on the wolf, or SOFTWARE_NODE. */
export function lobbyRequest(session: Session, renderNode: string): CreateLobbyRequest {
  const { image, resolution } = session.spec;
  const pin = session.pin === null ? {} : { pin: pinOf(session.pin) };
  return {
    profile_id: "wolfpack",
    name: session.id,
    multi_user: true,
    stop_when_everyone_leaves: false,
    ...pin,
    video_settings: {
      width: resolution.width,
      height: resolution.height,
      refresh_rate: resolution.refresh_rate,
      wayland_render_node: renderNode,
      runner_render_node: renderNode,
      video_producer_buffer_caps: "video/x-raw",
    },
    audio_settings: { channel_count: 2 },
    runner_state_folder: stateFolderOf(session.id),
    runner: {
      type: "docker",
      name: `wolfpack-${session.id}`,
      image,
      mounts: [],
      env: [`${SESSION_VARIABLE}=${session.id}`, "GOW_REQUIRED_DEVICES=/dev/input/* /dev/dri/* /dev/nvidia*"],
      devices: [],
      ports: [],
    },
  };
}
